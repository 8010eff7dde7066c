"""The three faces of one engine, asked the same way: `ask(face, [part, part, ...], max_tokens=4)`.

    face     what it is
    llm      `LLM(run_dir=...)`, plain blocking calls
    async    `AsyncLLM(run_dir=...)` on a loop in a thread of its own
    http     POST /v1/chat/completions

An answer has the same form whatever the face; a refusal is raised as `Refused` with what its HTTP
status is.
"""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from thespis import LLM, AsyncLLM, SamplingParams
from thespis.frontends.python.outputs import RequestOutput
from thespis.protocol.errors import RequestError

from ..helpers.serving import Server

FaceName = Literal["llm", "async", "http"]
FACES: tuple[FaceName, ...] = ("llm", "async", "http")
ALICE, BOB = "key-of-alice", "key-of-bob"
"""The server's API keys: two tenants. The Python faces are a third one."""

Content = str | Sequence[dict[str, Any]]
"""Of one user message: its text, or its parts."""


class Answer(NamedTuple):
    """One choice of one request."""

    text: str
    token_ids: list[int]
    prompt_token_ids: list[int]
    finish_reason: str | None
    media_tokens: dict[str, int]
    """By modality."""
    cached_tokens: int
    media_options: dict[str, Any]
    """In effect, where the request asked for any."""


class Refused(Exception):
    """What the caller was told instead of an answer."""

    def __init__(self, status: int, text: str, part: str | None, code: str) -> None:
        super().__init__(f"{status} {code}: {text}")
        self.status, self.text, self.part, self.code = status, text, part, code


class Face(Protocol):
    name: FaceName

    def chat(
        self, messages: Sequence[dict[str, Any]], sampling: dict[str, Any], options: dict[str, Any]
    ) -> Answer:
        """One conversation. `sampling`: of SamplingParams; `options`: what else a chat call takes.
        Raises Refused."""


def ask(
    face: Face,
    content: Content | None = None,
    *,
    messages: Sequence[dict[str, Any]] | None = None,
    **options: Any,
) -> Answer:
    """One user message of `content`, or whole `messages`; greedy, 8 tokens. Raises Refused.

    `options`: fields of SamplingParams, and `mm_processor_kwargs`, `media_io_kwargs`,
    `chat_template`, `chat_template_kwargs`, `add_generation_prompt`, `continue_final_message`,
    `tools`, as every face names them.
    """
    if messages is None:
        assert content is not None
        messages = [
            {"role": "user", "content": content if isinstance(content, str) else list(content)}
        ]
    sampling = {"temperature": 0.0, "max_tokens": 8}
    sampling |= {
        name: options.pop(name)
        for name in list(options)
        if name in SamplingParams.__struct_fields__
    }
    return face.chat(messages, sampling, options)


def refusal(face: Face, content: Content | None = None, **options: Any) -> Refused:
    """What `ask` is refused with. Fails where it is answered."""
    try:
        answer = ask(face, content, **options)
    except Refused as refused:
        return refused
    raise AssertionError(f"answered instead of refused: {answer}")


class OfflineFace:
    name: FaceName = "llm"

    def __init__(self, llm: LLM) -> None:
        self.llm = llm

    def chat(
        self, messages: Sequence[dict[str, Any]], sampling: dict[str, Any], options: dict[str, Any]
    ) -> Answer:
        try:
            (output,) = self.llm.chat(
                messages, SamplingParams(**sampling), use_tqdm=False, **options
            )
        except ValueError as error:
            raise _refused(error) from None
        return _answer(output)


class AsyncFace:
    name: FaceName = "async"

    def __init__(self, llm: AsyncLLM) -> None:
        self.llm = llm
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.run(llm.start())

    def chat(
        self, messages: Sequence[dict[str, Any]], sampling: dict[str, Any], options: dict[str, Any]
    ) -> Answer:
        try:
            return _answer(self.run(self.llm.chat(messages, SamplingParams(**sampling), **options)))
        except ValueError as error:
            raise _refused(error) from None

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """On the loop that the AsyncLLM belongs to."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=120)

    def close(self) -> None:
        self.run(self.llm.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class HttpFace:
    name: FaceName = "http"

    def __init__(self, server: Server) -> None:
        self.server = server

    def chat(
        self, messages: Sequence[dict[str, Any]], sampling: dict[str, Any], options: dict[str, Any]
    ) -> Answer:
        body = {"messages": list(messages), "return_token_ids": True, **sampling, **options}
        key = body.pop("key", None)
        reply = self.server.ask("/v1/chat/completions", body, key=key)
        if reply.status != 200:
            error = reply.body["error"]
            raise Refused(reply.status, error["message"], error["param"], error["code"])
        choice, usage = reply.body["choices"][0], reply.body["usage"]
        details = dict(usage["prompt_tokens_details"])
        cached = details.pop("cached_tokens")
        return Answer(
            choice["message"]["content"],
            choice["token_ids"],
            reply.body["prompt_token_ids"],
            choice["finish_reason"],
            {name.removesuffix("_tokens"): count for name, count in details.items()},
            cached,
            usage.get("media_options", {}),
        )


def _answer(output: RequestOutput) -> Answer:
    choice = output.outputs[0]
    metrics = output.metrics
    return Answer(
        choice.text,
        choice.token_ids,
        output.prompt_token_ids,
        choice.finish_reason,
        metrics.media_tokens,
        metrics.cached_tokens,
        metrics.media_options,
    )


def _refused(error: ValueError) -> Refused:
    """RequestError; a plain ValueError of SamplingParams is what HTTP calls 400."""
    if not isinstance(error, RequestError):
        return Refused(400, str(error), None, "out_of_range")
    failure = error.failure
    return Refused(error.status, str(error), failure.part, failure.code or failure.kind)
