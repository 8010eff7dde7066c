"""`AsyncLLM`: the asyncio face. It starts an engine, or joins one that already runs and may have
other faces too."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

from ...protocol.config.engine import EngineConfig
from ...protocol.edges.control import Status
from ...protocol.errors import EngineError
from ...protocol.requests.pooling import PoolingParams
from ...protocol.requests.sampling import SamplingParams
from ..client.client import UNCONFIRMED, Client
from ..client.deadline import steady
from ..client.stream import Stream
from ..client.tokenizing import tokenizer_of
from ..engine import EngineHandle, find_engine, start_engine
from ..hub.locate import located
from ..inputs.conversations import (
    Conversation,
    VectorInput,
    is_conversation,
    read_chat,
    read_for_vectors,
)
from ..inputs.prompts import PromptInput, read_prompt
from ..inputs.submission import Submission, submit
from .moment import Moment
from .options import engine_config
from .outputs import RequestOutput, StreamDelta, by_token, collect
from .vectors import EmbeddingRequestOutput, PoolingRequestOutput, collect_vectors, with_task

AsyncInput = PromptInput | Conversation
NOT_STARTED = (
    "AsyncLLM is not started: use `async with AsyncLLM(...) as llm:` or `await llm.start()`."
)


class AsyncLLM:
    """`async with AsyncLLM() as llm: async for delta in llm.stream("Hello"): print(delta.text,
    end="")`.

    With `run_dir` it joins the engine that runs there (`LLM.run_dir`, or what `thespis serve`
    prints); otherwise it starts one, from the same options as `LLM`.
    """

    def __init__(
        self, model: str = "", *, run_dir: str | Path | None = None, **options: Any
    ) -> None:
        self._config = engine_config(model, options) if run_dir is None else None
        self._joined = Path(run_dir) if run_dir is not None else None
        self._engine: EngineHandle | None = None
        self._client: Client | None = None

    async def start(self) -> None:
        """Start the engine, or join the one in `run_dir`; `async with` does the same. Does nothing
        the second time.

        A model of the hub is fetched before; cancelling ends that, and the next start goes on from
        there. Raises EngineError where the engine cannot start, does not run there, or does not
        answer.
        """
        if self._client is not None:
            return
        if self._config is not None:
            self._config = await _located(self._config)
            self._engine = await asyncio.to_thread(start_engine, self._config)
            self._joined = self._engine.run_dir
        assert self._joined is not None
        try:
            self._client = await Client.connect(find_engine(self._joined))
        except BaseException:
            await self._stop_engine()
            raise

    async def close(self) -> None:
        """Leave the engine; an engine that was started here ends. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        await self._stop_engine()

    async def _stop_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await asyncio.shield(asyncio.to_thread(engine.stop))

    async def stream(
        self, prompt: AsyncInput, sampling_params: SamplingParams | None = None, **options: Any
    ) -> AsyncIterator[StreamDelta]:
        """Yields the deltas of every choice as they come. Leaving the loop early cancels the
        request. Raises RequestError.

        `prompt`: what `LLM.generate` takes for one prompt, or a conversation in the OpenAI form.
        `options`: `priority`, `deadline` (unix seconds), `mm_processor_kwargs`, and for a
        conversation those of `LLM.chat`.
        """
        stream, _ = await self._submit(prompt, sampling_params or SamplingParams(), options, True)
        async with stream:
            async for update in stream:
                for choice in update.choices:
                    yield StreamDelta(
                        choice.index,
                        choice.text,
                        choice.token_ids,
                        by_token(choice.logprobs) if choice.logprobs else None,
                        choice.finish_reason,
                        choice.stop_reason,
                    )

    async def generate(
        self, prompt: AsyncInput, sampling_params: SamplingParams | None = None, **options: Any
    ) -> RequestOutput:
        """The whole answer to one prompt. Cancelling the task cancels the request. Raises
        RequestError."""
        params = sampling_params or SamplingParams()
        arrival = Moment.now()
        stream, given = await self._submit(prompt, params, options, False)
        async with stream:
            return await collect(stream, given.text, params.n, arrival)

    async def chat(
        self, messages: Conversation, sampling_params: SamplingParams | None = None, **options: Any
    ) -> RequestOutput:
        """The whole answer to one conversation; `options` as for `LLM.chat`. Raises
        RequestError."""
        return await self.generate(messages, sampling_params, **options)

    async def embed(
        self, prompt: VectorInput, pooling_params: PoolingParams | None = None, **options: Any
    ) -> EmbeddingRequestOutput:
        """The vector of one prompt or conversation; `options` as for `LLM.embed`, and `priority`
        and `deadline`."""
        return (
            await self.encode(prompt, pooling_params, pooling_task="embed", **options)
        ).as_embedding()

    async def encode(
        self,
        prompt: VectorInput,
        pooling_params: PoolingParams | None = None,
        *,
        pooling_task: str | None = None,
        **options: Any,
    ) -> PoolingRequestOutput:
        """What a pooling task makes of one prompt or conversation, as for `LLM.encode`. Cancelling
        the task cancels the request. Raises RequestError."""
        wanted, arrival, client = (
            with_task(pooling_params, pooling_task),
            Moment.now(),
            self._running(),
        )
        priority, deadline = options.pop("priority", 0), steady(options.pop("deadline", None))
        given = read_for_vectors(prompt, options)
        async with await submit(
            client, given, wanted, wait=True, priority=priority, deadline=deadline
        ) as stream:
            return await collect_vectors(stream, given.text, wanted, arrival)

    async def get_tokenizer(self) -> Any:
        """transformers' tokenizer of the model's folder; made with the first call, and not by the
        engine."""
        return await asyncio.to_thread(tokenizer_of, self._running().model.path)

    async def _submit(
        self, prompt: AsyncInput, params: SamplingParams, options: dict[str, Any], streamed: bool
    ) -> tuple[Stream, Submission]:
        client = self._running()
        priority, deadline = options.get("priority", 0), steady(options.get("deadline"))
        given = read_any(
            prompt,
            {
                name: value
                for name, value in options.items()
                if name not in ("priority", "deadline")
            },
        )
        stream = await submit(
            client,
            given,
            params,
            wait=True,
            priority=priority,
            deadline=deadline,
            streamed=streamed,
        )
        return stream, given

    @property
    def run_dir(self) -> Path:
        """Where the engine runs: another `AsyncLLM(run_dir=...)` joins it there. Raises
        RuntimeError before the start."""
        if self._joined is None:
            raise RuntimeError(NOT_STARTED)
        return self._joined

    async def status(self) -> Status:
        """Readiness, pids and counters of every process. Raises EngineError where the engine has
        ended or does not answer."""
        return await self._running().status()

    async def reset_prefix_cache(self) -> bool:
        """Forget the computed beginnings of prompts. Requests in progress keep theirs, and later
        ones do not find them.

        False where the scheduler has not confirmed it in time. Raises EngineError where the engine
        does not answer.
        """
        return await self._running().reset("prefix")

    async def reset_mm_cache(self) -> None:
        """Forget decoded media, their embeddings, and what ids (`uuid`) name. Requests in progress
        keep what they hold, and later ones do not find it: they decode and encode anew. Raises
        EngineError where that is not confirmed.
        """
        if not await self._running().reset("media"):
            raise EngineError(UNCONFIRMED)

    def _running(self) -> Client:
        if self._client is None:
            raise RuntimeError(NOT_STARTED)
        return self._client

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def read_any(prompt: AsyncInput, options: dict[str, Any]) -> Submission:
    """One prompt of `generate`, or a conversation (a list of messages) with the options of
    `LLM.chat`."""
    if is_conversation(prompt):
        return read_chat(prompt, **options)
    processor = options.pop("mm_processor_kwargs", None)
    if options:
        raise TypeError(f"{next(iter(options))!r} is an option of conversations; this is a prompt.")
    return read_prompt(prompt, processor)


async def _located(config: EngineConfig) -> EngineConfig:
    """The thread that fetches ends soon after the task is cancelled: asyncio waits for it at its
    own end."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(located, config, stop)
    finally:
        stop.set()
