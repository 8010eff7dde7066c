"""`LLM`: the offline face, with plain blocking calls. The client's event loop runs in a thread of
its own, so that scripts without a main guard, REPLs and notebooks (whose loop is already running)
all work the same.
"""

import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from ...protocol.edges.control import Status
from ...protocol.errors import EngineError
from ...protocol.requests.pooling import PoolingParams
from ...protocol.requests.preview import Preview
from ...protocol.requests.sampling import SamplingParams
from ..client.client import UNCONFIRMED, Client
from ..client.stream import Stream
from ..client.tokenizing import tokenizer_of
from ..engine import EngineHandle, find_engine, start_engine
from ..inputs.conversations import (
    Conversation,
    ScoreInput,
    VectorInput,
    is_conversation,
    is_messages,
    read_any,
    read_chat,
    read_for_vectors,
)
from ..inputs.previews import WANTED, MediaPreview, preview_of
from ..inputs.prompts import PromptInput, is_prompt, read_prompt
from ..inputs.submission import RequestGroup, Submission, submit
from .loop_thread import LoopThread
from .moment import Moment
from .options import engine_config
from .outputs import RequestOutput, collect
from .progress import ProgressBar
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

K = TypeVar("K")
R = TypeVar("R")
W = TypeVar("W", SamplingParams, PoolingParams, Preview)
Params = SamplingParams | Sequence[SamplingParams] | None
Pooled = PoolingParams | Sequence[PoolingParams] | None
CLOSE_SECONDS = 10.0
"""What a client may take to leave its engine."""
PromptReader = Callable[[], Submission]
"""Reads one prompt when it is its turn."""


class LLM:
    """An engine for offline batches: `LLM("folder").generate("Hello")`.

    `model` is a folder, a GGUF file, or `ORG/NAME[@REVISION]` on the hub, which is fetched first;
    without one the bundled model runs. Takes every field of `EngineConfig` as a keyword argument.
    With `run_dir` it joins the engine that runs there. Raises EngineError if there is none, or if
    the engine cannot start or does not answer. The processes that it started end with `close()`,
    the `with` block, the object, or this process.
    """

    def __init__(
        self, model: str | Path = "", *, run_dir: str | Path | None = None, **options: Any
    ) -> None:
        self._engine = None if run_dir is not None else start_engine(engine_config(model, options))
        self._run_dir = (
            self._engine.run_dir if self._engine is not None else find_engine(run_dir or "")
        )
        self._loop = LoopThread("thespis-client")
        try:
            self._client = self._loop.call(Client.connect(self._run_dir))
        except BaseException:
            if self._engine is not None:
                self._engine.stop()
            self._loop.close()
            raise
        self._close = weakref.finalize(self, _shut, self._engine, self._client, self._loop)

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
        """One answer per prompt, in order. Raises RequestError for the first prompt that is refused
        or fails.

        `priority`: one, or one per prompt; the lowest runs first. `mm_processor_kwargs`: for
        prompts that say nothing else.
        """
        one = is_prompt(prompts) or not isinstance(prompts, Iterable)
        given: list[Any] = [prompts] if one else list(prompts)
        readers = [partial(read_prompt, prompt, mm_processor_kwargs) for prompt in given]
        wanted = _sampling_of(sampling_params, len(readers))
        return self._run(readers, wanted, use_tqdm, priority, _collect)

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
        """One answer per conversation, in order; one conversation or a list of several, in the
        OpenAI form.

        They are rendered by `chat_template` (a file, Jinja source, or the name of a built-in one),
        by default the model's. In addition to the API's content parts there are `image_pil`, and
        `image`, `video` and `audio` with what `multi_modal_data` takes. `add_generation_prompt`
        defaults to the opposite of `continue_final_message`. Raises RequestError like `generate`.
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
        readers = [partial(read, conversation) for conversation in batch]
        wanted = _sampling_of(sampling_params, len(readers))
        return self._run(readers, wanted, use_tqdm, None, _collect)

    def preview(
        self,
        prompts: VectorInput | Sequence[VectorInput],
        use_tqdm: bool = False,
        **options: Any,
    ) -> list[MediaPreview]:
        """What each prompt or conversation would cost, in order: tokens of each item and of the
        whole, as `generate` and `chat` would count them. Only headers are read, and nothing is
        decoded.

        `options`: `mm_processor_kwargs`, and for conversations those of `chat`. Raises RequestError
        like `generate`, and with the code `cost_unknown` for an item whose headers do not tell it.
        """
        given: list[Any] = (
            [prompts] if is_prompt(prompts) or is_messages(prompts) else list(prompts)
        )
        readers = [partial(read_any, prompt, dict(options)) for prompt in given]
        return self._run(readers, [WANTED] * len(readers), use_tqdm, None, self._collect_preview)

    async def _collect_preview(
        self, stream: Stream, text: str | None, wanted: Preview, arrival: Moment
    ) -> MediaPreview:
        return await preview_of(stream, self._client)

    # vectors

    def embed(
        self,
        prompts: VectorInput | Sequence[VectorInput],
        *,
        use_tqdm: bool = True,
        pooling_params: Pooled = None,
        priority: int | Sequence[int] | None = None,
        **options: Any,
    ) -> list[EmbeddingRequestOutput]:
        """One vector per prompt, in order, as `outputs.embedding`.

        A prompt is one of `generate`, or a conversation (a list of messages with `role`); a list
        may mix both. `options`: `mm_processor_kwargs`, and for conversations those of `chat`, of
        which `add_generation_prompt` is false here; with `add_special_tokens` they get the
        tokenizer's own beginning and end, or not. Raises RequestError like `generate`, and for a
        model that makes text.
        """
        asked: dict[str, Any] = {"use_tqdm": use_tqdm, "priority": priority, **options}
        outputs = self.encode(prompts, pooling_params, pooling_task="embed", **asked)
        return [output.as_embedding() for output in outputs]

    def encode(
        self,
        prompts: VectorInput | Sequence[VectorInput],
        pooling_params: Pooled = None,
        *,
        use_tqdm: bool = True,
        pooling_task: str | None = None,
        priority: int | Sequence[int] | None = None,
        **options: Any,
    ) -> list[PoolingRequestOutput]:
        """What a pooling task makes of each prompt, in order, as a tensor in `outputs.data`:
        `embed` one vector, `token_embed` one for each token. Prompts, options and errors are those
        of `embed`. Raises ValueError where no task is named.
        """
        given: list[Any] = (
            [prompts] if is_prompt(prompts) or is_messages(prompts) else list(prompts)
        )
        params = pooling_params
        several = params if isinstance(params, Sequence) else [params] * len(given)
        each = [with_task(one, pooling_task) for one in several]
        wanted = _one_each("pooling_params", each, len(given), PoolingParams)
        readers = [partial(read_for_vectors, prompt, options) for prompt in given]
        return self._run(readers, wanted, use_tqdm, priority, collect_vectors)

    def score(
        self,
        data_1: ScoreInputs,
        data_2: ScoreInputs,
        *,
        use_tqdm: bool = True,
        pooling_params: PoolingParams | None = None,
        priority: int | Sequence[int] | None = None,
        **options: Any,
    ) -> list[ScoringRequestOutput]:
        """How near each two are, as `outputs.score`: one beside each of several, or each beside its
        own. An input is a text, a dict of `generate`, or `{"text": ..., "image": ...}`. Options
        and errors are those of `embed`."""
        inputs = compared(data_1, data_2, ("data_1", "data_2"))
        return self._score(inputs, use_tqdm, pooling_params, priority, options)

    def rerank(
        self,
        query: ScoreInput,
        documents: Sequence[ScoreInput],
        *,
        top_n: int | None = None,
        use_tqdm: bool = True,
        pooling_params: PoolingParams | None = None,
        priority: int | Sequence[int] | None = None,
        **options: Any,
    ) -> list[RankedDocument]:
        """The documents by their nearness to the query, the nearest first, or the `top_n` nearest.
        Inputs, options and errors are those of `score`."""
        check_top(top_n)
        inputs = compared([query], list(documents), ("query", "documents"))
        scored = self._score(inputs, use_tqdm, pooling_params, priority, options)
        return best_of(scored, documents, top_n)

    def _score(
        self,
        inputs: Compared,
        use_tqdm: bool,
        params: PoolingParams | None,
        priority: int | Sequence[int] | None,
        options: Mapping[str, Any],
    ) -> list[ScoringRequestOutput]:
        wanted = [for_score(params)] * len(inputs.inputs)
        readers = inputs.readers(options)
        return inputs.scored(self._run(readers, wanted, use_tqdm, priority, collect_vectors))

    def _run(
        self,
        readers: Sequence[PromptReader],
        wanted: Sequence[W],
        use_tqdm: bool,
        priority: int | Sequence[int] | None,
        gather: Callable[[Stream, str | None, W, Moment], Coroutine[Any, Any, R]],
    ) -> list[R]:
        turns = _one_each("priorities", priority or 0, len(readers), int)
        return self._loop.call(_run_all(self._client, readers, wanted, turns, use_tqdm, gather))

    # the engine

    def get_tokenizer(self) -> Any:
        """transformers' tokenizer of the model's folder; made with the first call."""
        return tokenizer_of(self._client.model.path)

    @property
    def run_dir(self) -> Path:
        """Where the engine runs; `AsyncLLM(run_dir=...)` joins it there."""
        return self._run_dir

    def status(self) -> Status:
        """Readiness, pids and counters of every process. Raises EngineError."""
        return self._loop.call(self._client.status())

    def reset_prefix_cache(self) -> bool:
        """Forget the computed beginnings of prompts. Requests in progress keep theirs, and later
        ones do not find them.

        False where the scheduler has not confirmed it in time. Raises EngineError where the engine
        does not answer.
        """
        return self._loop.call(self._client.reset("prefix"))

    def reset_mm_cache(self) -> None:
        """Forget decoded media, their embeddings, and what ids (`uuid`) name. Requests in progress
        keep what they hold, and later ones do not find it: they decode and encode anew. Raises
        EngineError where that is not confirmed.
        """
        if not self._loop.call(self._client.reset("media")):
            raise EngineError(UNCONFIRMED)

    def close(self) -> None:
        """End every process of this engine, or leave the engine that was joined. Idempotent."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _shut(engine: EngineHandle | None, client: Client, loop: LoopThread) -> None:
    """Close an LLM. It must not refer to the object, which could then never be collected."""
    if loop.forked:
        return
    if loop.inside:  # collected there, where waiting for the loop would have no end
        threading.Thread(target=_shut, args=(engine, client, loop), name="thespis-close").start()
        return
    try:
        loop.call(client.close(), CLOSE_SECONDS)
    finally:  # the engine ends, whatever holds the client up
        try:
            loop.close(CLOSE_SECONDS)
        finally:
            if engine is not None:
                engine.stop()


def _one_each(name: str, given: Any, count: int, kind: type[K]) -> list[K]:
    """One value for each of `count` prompts. Raises TypeError, ValueError."""
    each = list(given) if isinstance(given, Sequence) else [given] * count
    if not all(isinstance(one, kind) for one in each):
        raise TypeError(f"{name} are {kind.__name__}(...), one or a list with one per prompt.")
    if len(each) != count:
        raise ValueError(
            f"There are {count} prompts and {len(each)} {name}; give one, or one per prompt."
        )
    return each


def _sampling_of(params: Params, count: int) -> list[SamplingParams]:
    return _one_each("sampling_params", params or SamplingParams(), count, SamplingParams)


async def _collect(
    stream: Stream, text: str | None, sampling: SamplingParams, arrival: Moment
) -> RequestOutput:
    return await collect(stream, text, sampling.n, arrival)


async def _run_all(
    client: Client,
    readers: Sequence[PromptReader],
    params: Sequence[W],
    turns: list[int],
    use_tqdm: bool,
    gather: Callable[[Stream, str | None, W, Moment], Coroutine[Any, Any, R]],
) -> list[R]:
    """Submit in order, each as soon as there is room: thousands never hold more media than it
    takes."""
    bar = ProgressBar(len(readers), use_tqdm)

    async def run_one(stream: Stream, text: str | None, wanted: W) -> R:
        output = await gather(stream, text, wanted, Moment.now())
        made = output.outputs if isinstance(output, RequestOutput) else []
        bar.add(sum(len(choice.token_ids) for choice in made))
        return output

    with bar:
        async with RequestGroup() as group:
            running = []
            for read, wanted, turn in zip(readers, params, turns, strict=True):
                given = read()
                stream = await submit(
                    client, given, wanted, wait=True, priority=turn, streamed=False
                )
                running.append(group.read(stream, partial(run_one, stream, given.text, wanted)))
    return [task.result() for task in running]
