"""`LLM`: the offline face, with plain blocking calls. The client's event loop runs in a thread of its own, so that scripts
without a main guard, REPLs and notebooks (whose loop is already running) all work the same.
"""

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from ..protocol.edges.control import Status
from ..protocol.errors import EngineError
from ..protocol.sampling import SamplingParams
from .client import UNCONFIRMED, Client
from .conversations import Conversation, is_conversation, read_chat
from .engine import EngineHandle, find_engine, start_engine
from .inputs import PromptInput, is_prompt, read_prompt
from .moment import Moment
from .options import engine_config
from .outputs import RequestOutput, collect
from .progress import ProgressBar
from .stream import Stream
from .submission import Submission, submit
from .tokenizing import tokenizer_of

T = TypeVar("T")
Params = SamplingParams | Sequence[SamplingParams] | None
CLOSE_SECONDS = 10.0
"""What a client may take to leave its engine."""
Reader = Callable[[], Submission]
"""Reads one prompt when it is its turn."""


class LLM:
    """An engine for offline batches: `LLM("folder").generate("Hello")`.

    `model` is a folder, or `ORG/NAME[@REVISION]` on the hub, which is fetched first; without one the bundled model runs.
    Takes every field of `EngineConfig` as a keyword argument. With `run_dir` it joins the engine that runs there. Raises
    EngineError if there is none, or if the engine cannot start or does not answer.
    The processes that it started end with `close()`, the `with` block, the object, or this process.
    """

    def __init__(self, model: str | Path = "", *, run_dir: str | Path | None = None, **options: Any) -> None:
        self._engine = None if run_dir is not None else start_engine(engine_config(model, options))
        self._run_dir = self._engine.run_dir if self._engine is not None else find_engine(run_dir or "")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="thespis-client", daemon=True)
        self._thread.start()
        try:
            self._client = self._call(Client.connect(self._run_dir))
        except BaseException:
            if self._engine is not None:
                self._engine.stop()
            self._stop_loop(self._loop, self._thread)
            raise
        self._close = weakref.finalize(self, _shut, self._engine, self._client, self._loop, self._thread)

    # generation

    def generate(
        self,
        prompts: PromptInput | Sequence[PromptInput],
        sampling_params: Params = None,
        use_tqdm: bool = True,
        *,
        priority: int | Sequence[int] | None = None,
        mm_processor_kwargs: Mapping[str, Any] | None = None,
    ) -> list[RequestOutput]:
        """One answer per prompt, in order. Raises RequestError for the first prompt that is refused or fails.

        `priority`: one, or one per prompt; the lowest runs first. `mm_processor_kwargs`: for prompts that say nothing else.
        """
        given = [prompts] if is_prompt(prompts) else list(prompts)
        readers: list[Reader] = [partial(read_prompt, prompt, mm_processor_kwargs) for prompt in given]
        return self._run(readers, sampling_params, use_tqdm, priority)

    def chat(
        self,
        messages: Conversation | Sequence[Conversation],
        sampling_params: Params = None,
        use_tqdm: bool = True,
        *,
        chat_template: str | Path | None = None,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        mm_processor_kwargs: Mapping[str, Any] | None = None,
        media_io_kwargs: Mapping[str, Any] | None = None,
    ) -> list[RequestOutput]:
        """One answer per conversation, in order; one conversation or a list of several, in the OpenAI form.

        They are rendered by `chat_template` (a file, Jinja source, or the name of a built-in one), by default the model's.
        In addition to the API's content parts there are `image_pil`, and `image`, `video` and `audio` with what
        `multi_modal_data` takes. `add_generation_prompt` defaults to the opposite of `continue_final_message`. Raises
        RequestError like `generate`.
        """
        batch = [messages] if is_conversation(messages) else messages
        read = partial(
            read_chat,
            chat_template=chat_template,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
            mm_processor_kwargs=mm_processor_kwargs,
            media_io_kwargs=media_io_kwargs,
        )
        return self._run([partial(read, conversation) for conversation in batch], sampling_params, use_tqdm)

    def _run(
        self, readers: list[Reader], params: Params, use_tqdm: bool, priority: int | Sequence[int] | None = None
    ) -> list[RequestOutput]:
        turns = list(priority) if isinstance(priority, Sequence) else [priority or 0] * len(readers)
        if len(turns) != len(readers):
            raise ValueError(f"There are {len(readers)} prompts and {len(turns)} priorities; give one, or one per prompt.")
        each = list(params) if isinstance(params, Sequence) else [params or SamplingParams()] * len(readers)
        if not all(isinstance(one, SamplingParams) for one in each):
            raise TypeError("sampling_params are SamplingParams(...), one or a list with one per prompt.")
        if len(each) != len(readers):
            raise ValueError(f"There are {len(readers)} prompts and {len(each)} sampling_params; give one, or one per prompt.")
        return self._call(_run_all(self._client, readers, each, turns, use_tqdm))

    # the engine

    def get_tokenizer(self) -> Any:
        """transformers' tokenizer of the model's folder; made with the first call, and not by the engine."""
        return tokenizer_of(self._client.model.path)

    @property
    def run_dir(self) -> Path:
        """Where the engine runs; `AsyncLLM(run_dir=...)` joins it there."""
        return self._run_dir

    def status(self) -> Status:
        """Readiness, pids and counters of every process. Raises EngineError where the engine has ended or does not answer."""
        return self._call(self._client.status())

    def reset_prefix_cache(self) -> bool:
        """Forget the computed beginnings of prompts. Requests in progress keep theirs, and later ones do not find them.

        False where the scheduler has not confirmed it in time. Raises EngineError where the engine does not answer.
        """
        return self._call(self._client.reset("prefix"))

    def reset_mm_cache(self) -> None:
        """Forget decoded media, their embeddings, and what ids (`uuid`) name. Requests in progress keep what they hold, and
        later ones do not find it: they decode and encode anew. Raises EngineError where that is not confirmed.
        """
        if not self._call(self._client.reset("media")):
            raise EngineError(UNCONFIRMED)

    def close(self) -> None:
        """End every process of this engine, or leave the engine that was joined. Idempotent."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the client's loop. Ctrl-C here cancels it there, with every request that it has submitted."""
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


def _shut(engine: EngineHandle | None, client: Client, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """Close an LLM. It must not refer to the object, which could then never be collected."""
    asyncio.run_coroutine_threadsafe(client.close(), loop).result(CLOSE_SECONDS)
    LLM._stop_loop(loop, thread)
    if engine is not None:
        engine.stop()


async def _run_all(
    client: Client, readers: list[Reader], params: list[SamplingParams], turns: list[int], use_tqdm: bool
) -> list[RequestOutput]:
    """Submit in order, each as soon as the engine has room: ten thousand prompts never hold more media than it takes."""
    begun: set[Stream] = set()

    async def run_one(stream: Stream, text: str | None, n: int) -> RequestOutput:
        output = await collect(stream, text, n, Moment.now())
        begun.remove(stream)
        bar.add(output)
        return output

    with ProgressBar(len(readers), use_tqdm) as bar:
        try:
            async with asyncio.TaskGroup() as group:
                running = []
                for read, sampling, turn in zip(readers, params, turns, strict=True):
                    given = read()
                    stream = await submit(client, given, sampling, wait=True, priority=turn)
                    begun.add(stream)
                    running.append(group.create_task(run_one(stream, given.text, sampling.n)))
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        finally:
            for stream in begun:  # here and not in the tasks: a task that never ran its first line would cancel nothing
                await stream.cancel()
    return [task.result() for task in running]
