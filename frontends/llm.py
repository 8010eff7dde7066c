"""`LLM`: the offline face. A plain blocking call; the client's loop runs in a thread of its own, so that a script without a
main guard, a REPL and a notebook (whose loop is already running) all work the same.
"""

import asyncio
import threading
import time
import weakref
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from ..protocol.edges.control import Status
from ..protocol.request import ChatPrompt
from ..protocol.sampling import SamplingParams
from .client import Client
from .conversations import read_conversation
from .engine import EngineHandle, start_engine
from .inputs import PromptInput, Submission, read_prompt
from .options import engine_config
from .outputs import Collector, RequestOutput

T = TypeVar("T")
Params = SamplingParams | Sequence[SamplingParams] | None
Conversation = Sequence[Mapping[str, Any]]


class LLM:
    """An engine of this process's own: `LLM("folder").generate("Hello")`.

    Takes every field of `EngineConfig` as a keyword; without a model it runs the bundled one. Raises EngineError where the
    engine cannot start. Its processes end with `close()`, with the `with` block, with the object, and with this process.
    """

    def __init__(self, model: str = "", **options: Any) -> None:
        self._engine = start_engine(engine_config(model, options))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="thespis-client", daemon=True)
        self._thread.start()
        try:
            self._client = self._call(Client.connect(self._engine.run_dir))
        except BaseException:
            self._engine.stop()
            self._stop_loop(self._loop, self._thread)
            raise
        self._close = weakref.finalize(self, _shut, self._engine, self._client, self._loop, self._thread)

    # generation

    def generate(
        self, prompts: PromptInput | Sequence[PromptInput], sampling_params: Params = None, use_tqdm: bool = True
    ) -> list[RequestOutput]:
        """Answers in the order of the prompts. Raises RequestError for the first prompt that is refused or fails."""
        one = isinstance(prompts, str | Mapping) or (bool(prompts) and isinstance(prompts[0], int))
        given: list[PromptInput] = [prompts] if one else list(prompts)  # type: ignore[list-item, arg-type]
        return self._run([lambda p=prompt: read_prompt(p, self._client) for prompt in given], sampling_params, use_tqdm)

    def chat(
        self,
        messages: Conversation | Sequence[Conversation],
        sampling_params: Params = None,
        use_tqdm: bool = True,
        chat_template: str | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        mm_processor_kwargs: Mapping[str, Any] | None = None,
    ) -> list[RequestOutput]:
        """One conversation or several, in the OpenAI form; the model's chat template renders them."""
        batch: Sequence[Conversation] = [messages] if messages and isinstance(messages[0], Mapping) else messages  # type: ignore[list-item, assignment]

        def read(conversation: Conversation) -> Submission:
            chat, media = read_conversation(conversation, self._client)
            prompt = ChatPrompt(
                chat,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                tools=tuple(dict(tool) for tool in tools or ()),
                template=chat_template,
                template_kwargs=dict(chat_template_kwargs or {}),
            )
            return Submission(prompt, media, dict(mm_processor_kwargs or {}))

        return self._run([lambda c=conversation: read(c) for conversation in batch], sampling_params, use_tqdm)

    def _run(self, readers: list[Any], params: Params, use_tqdm: bool) -> list[RequestOutput]:
        each = list(params) if isinstance(params, Sequence) else [params or SamplingParams()] * len(readers)
        if len(each) != len(readers):
            raise ValueError(f"There are {len(readers)} prompts and {len(each)} sampling_params; give one, or one per prompt.")
        return self._call(_run_all(self._client, readers, each, use_tqdm))

    # the engine

    @property
    def run_dir(self) -> Path:
        """Where the engine runs; `AsyncLLM(run_dir=...)` joins it there."""
        return self._engine.run_dir

    def status(self) -> Status:
        """Readiness, pids and counters of every process."""
        return self._call(self._client.status())

    def close(self) -> None:
        """End every process of this engine. Idempotent."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the client's loop; Ctrl-C here cancels it there, and with it every request it had submitted."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    @staticmethod
    def _stop_loop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _shut(engine: EngineHandle, client: Client, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """The end of an LLM; must not refer to it, else it would never be collected."""
    asyncio.run_coroutine_threadsafe(client.close(), loop).result(timeout=10)
    LLM._stop_loop(loop, thread)
    engine.stop()


async def _run_all(client: Client, readers: list[Any], params: list[SamplingParams], use_tqdm: bool) -> list[RequestOutput]:
    """Submit in order, each as soon as admission has room, so that ten thousand prompts never hold more media than that."""
    from tqdm import tqdm

    outputs: list[RequestOutput | None] = [None] * len(readers)
    tokens = 0
    started = time.monotonic()
    with tqdm(total=len(readers), desc="Requests", disable=not use_tqdm, dynamic_ncols=True) as bar:

        async def run_one(index: int, collector: Collector, stream: Any) -> None:
            nonlocal tokens
            async with stream:
                async for update in stream:
                    collector.add(update, time.time())
            collector.output.prompt_token_ids = list(stream.prompt_token_ids)
            outputs[index] = collector.output
            tokens += sum(len(choice.token_ids) for choice in collector.output.outputs)
            bar.set_postfix_str(f"{tokens / max(time.monotonic() - started, 1e-9):.0f} tokens/s", refresh=False)
            bar.update()

        try:
            async with asyncio.TaskGroup() as group:
                for index, (read, sampling) in enumerate(zip(readers, params, strict=True)):
                    given: Submission = read()
                    stream = await client.submit(
                        given.prompt,
                        given.media,
                        sampling,
                        mm_processor_kwargs=given.mm_processor_kwargs,
                        media_io_kwargs=given.media_io_kwargs,
                        wait=True,
                    )
                    collector = Collector(stream.id, given.text, sampling.n, time.time())
                    group.create_task(run_one(index, collector, stream))
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
    return [output for output in outputs if output is not None]
