"""`AsyncLLM`: the asyncio face. It starts an engine, or joins one that runs."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from ...protocol.config.engine import EngineConfig
from ...protocol.edges.control import Status
from ...protocol.errors import EngineError, invalid
from ...protocol.requests.pooling import PoolingParams
from ...protocol.requests.preview import Preview
from ...protocol.requests.sampling import SamplingParams
from ..client.client import UNCONFIRMED, Client
from ..client.deadline import steady
from ..client.stream import Stream
from ..client.tokenizing import tokenizer_of
from ..engine import EngineHandle, find_engine, start_engine
from ..hub.locate import located
from ..inputs.conversations import (
    Conversation,
    ScoreInput,
    VectorInput,
    read_any,
    read_for_vectors,
)
from ..inputs.previews import WANTED, MediaPreview, preview_of
from ..inputs.submission import RequestGroup, Submission, submit
from .moment import Moment
from .options import engine_config
from .outputs import CompletionOutput, RequestOutput, collect, output_of
from .scores import (
    Compared,
    RankedDocument,
    ScoreInputs,
    ScoringRequestOutput,
    best_of,
    check_top,
    compared,
    for_score,
)
from .vectors import EmbeddingRequestOutput, PoolingRequestOutput, collect_vectors, with_task

NOT_STARTED = (
    "AsyncLLM is not started: use `async with AsyncLLM(...) as llm:` or `await llm.start()`."
)
CLOSED = "This AsyncLLM was closed: `await llm.start()` starts it again, or make another one."


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
        self._closed = False

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
        client, self._client, self._closed = self._client, None, True
        if client is not None:
            await client.close()
        await self._stop_engine()

    async def _stop_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await asyncio.shield(asyncio.to_thread(engine.stop))

    async def stream(
        self, prompt: VectorInput, sampling_params: SamplingParams | None = None, **options: Any
    ) -> AsyncIterator[CompletionOutput]:
        """Yields what each choice grew by, as it comes. Leaving the loop early cancels the
        request. Raises RequestError.

        `prompt`: what `LLM.generate` takes for one prompt, or a conversation in the OpenAI form.
        `options`: `priority`, `deadline` (unix seconds), `mm_processor_kwargs`, and for a
        conversation those of `LLM.chat`.
        """
        params = sampling_params or SamplingParams()
        if params.prompt_logprobs is not None:
            text = "It is not available in a stream; `generate` has it."
            raise invalid(text, "prompt_logprobs", "contradicting_fields")
        stream, _ = await self._submit(read_any, prompt, params, options, streamed=True)
        async with stream:
            async for update in stream:
                for choice in update.choices:
                    yield output_of(choice)

    async def generate(
        self, prompt: VectorInput, sampling_params: SamplingParams | None = None, **options: Any
    ) -> RequestOutput:
        """The whole answer to one prompt; cancelling the task cancels it. Raises RequestError."""
        params, arrival = sampling_params or SamplingParams(), Moment.now()
        stream, text = await self._submit(read_any, prompt, params, options)
        async with stream:
            return await collect(stream, text, params.n, arrival)

    async def chat(
        self, messages: Conversation, sampling_params: SamplingParams | None = None, **options: Any
    ) -> RequestOutput:
        """The answer to one conversation; `options` as for `LLM.chat`. Raises RequestError."""
        return await self.generate(messages, sampling_params, **options)

    async def embed(
        self, prompt: VectorInput, pooling_params: PoolingParams | None = None, **options: Any
    ) -> EmbeddingRequestOutput:
        """One vector; `options` as for `LLM.embed`, and `priority` and `deadline`."""
        made = await self.encode(prompt, pooling_params, pooling_task="embed", **options)
        return made.as_embedding()

    async def encode(
        self,
        prompt: VectorInput,
        pooling_params: PoolingParams | None = None,
        *,
        pooling_task: str | None = None,
        **options: Any,
    ) -> PoolingRequestOutput:
        """As `LLM.encode`, of one prompt or conversation; cancelling the task cancels it."""
        wanted, arrival = with_task(pooling_params, pooling_task), Moment.now()
        stream, text = await self._submit(read_for_vectors, prompt, wanted, options)
        async with stream:
            return await collect_vectors(stream, text, wanted, arrival)

    async def score(
        self,
        data_1: ScoreInputs,
        data_2: ScoreInputs,
        pooling_params: PoolingParams | None = None,
        **options: Any,
    ) -> list[ScoringRequestOutput]:
        """As `LLM.score`; `options` as for `embed`."""
        inputs = compared(data_1, data_2, ("data_1", "data_2"))
        return await self._score(inputs, pooling_params, options)

    async def rerank(
        self,
        query: ScoreInput,
        documents: Sequence[ScoreInput],
        *,
        top_n: int | None = None,
        pooling_params: PoolingParams | None = None,
        **options: Any,
    ) -> list[RankedDocument]:
        """As `LLM.rerank`; `options` as for `embed`."""
        check_top(top_n)
        inputs = compared([query], list(documents), ("query", "documents"))
        return best_of(await self._score(inputs, pooling_params, options), documents, top_n)

    async def _score(
        self, inputs: Compared, params: PoolingParams | None, options: dict[str, Any]
    ) -> list[ScoringRequestOutput]:
        client, turn = self._running(), options.pop("priority", 0)
        wanted, arrival = for_score(params), Moment.now()
        deadline = steady(options.pop("deadline", None))
        async with RequestGroup() as group:
            made = []
            for read in inputs.readers(options):
                given = read()
                stream = await submit(
                    client, given, wanted, wait=True, priority=turn, deadline=deadline,
                    streamed=False,
                )  # fmt: skip
                collecting = partial(collect_vectors, stream, given.text, wanted, arrival)
                made.append(group.read(stream, collecting))
        return inputs.scored([task.result() for task in made])

    async def preview(self, prompt: VectorInput, **options: Any) -> MediaPreview:
        """What a prompt or conversation would cost: tokens of each item and of the whole. Only
        headers are read, and nothing is decoded. `options` as for `stream`. Raises RequestError,
        with the code `cost_unknown` for an item whose headers do not tell it."""
        stream, _ = await self._submit(read_any, prompt, WANTED, options)
        async with stream:
            return await preview_of(stream, self._running())

    async def get_tokenizer(self) -> Any:
        """transformers' tokenizer of the model's folder; made with the first call."""
        return await asyncio.to_thread(tokenizer_of, self._running().model.path)

    async def _submit(
        self,
        read: Callable[[Any, dict[str, Any]], Submission],
        prompt: VectorInput,
        wanted: SamplingParams | PoolingParams | Preview,
        options: dict[str, Any],
        streamed: bool = False,
    ) -> tuple[Stream, str | None]:
        """The request, and the prompt as the caller wrote it."""
        client, turn = self._running(), options.pop("priority", 0)
        deadline = steady(options.pop("deadline", None))
        given = read(prompt, options)
        stream = await submit(
            client, given, wanted, wait=True, priority=turn, deadline=deadline, streamed=streamed
        )
        return stream, given.text

    @property
    def run_dir(self) -> Path:
        """Another `AsyncLLM(run_dir=...)` joins the engine there. Raises EngineError before the
        start."""
        if self._joined is None:
            raise EngineError(NOT_STARTED)
        return self._joined

    async def status(self) -> Status:
        """Readiness, pids and counters of every process. Raises EngineError."""
        return await self._running().status()

    async def reset_prefix_cache(self) -> bool:
        """As `LLM.reset_prefix_cache`."""
        return await self._running().reset("prefix")

    async def reset_mm_cache(self) -> None:
        """As `LLM.reset_mm_cache`."""
        if not await self._running().reset("media"):
            raise EngineError(UNCONFIRMED)

    def _running(self) -> Client:
        if self._client is None:
            raise EngineError(CLOSED if self._closed else NOT_STARTED)
        return self._client

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _located(config: EngineConfig) -> EngineConfig:
    """The thread that fetches ends soon after the task is cancelled."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(located, config, stop)
    finally:
        stop.set()
