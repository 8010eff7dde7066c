"""Answers as Anthropic's messages: content blocks, whole or as events. Pure."""

import secrets
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from ....protocol.errors import Failure
from ....protocol.requests.sampling import SamplingParams
from ...client.answer import Answer
from ...client.stream import Choice, Update
from ..answers.writer import AnswerOptions, encode_json
from ..news.reader import AnswerReader, News, Thinking
from ..tools.arguments import as_object
from ..tools.json_prefix import JsonPrefix
from ..tools.json_reader import Words
from ..tools.tool_calls import ToolArguments, ToolCall
from .errors import anthropic_event

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
TEXT = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
    b'"delta":{"type":"text_delta","text":'
)
"""Up to the text of a delta, which nearly every token is."""
Part = Literal["text", "thinking", "tool_use"]


def event(kind: str, **fields: Any) -> bytes:
    body = encode_json({"type": kind, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"


class ContentBlock:
    """Of an answer, while it grows."""

    def __init__(self, part: Part, name: str = "") -> None:
        """`name`: of a call's function."""
        self.part, self.name = part, name
        self.pieces: list[str] = []
        """Of its text; of a call, of its arguments."""
        self.blank = True
        """So far they are white space."""
        self.prefix = JsonPrefix()
        """Of a call, what has been told of its arguments."""
        self.broken = False
        """What has come since is no JSON."""

    def add(self, piece: str) -> bool:
        """Whether the arguments begin with it, and as an object."""
        self.pieces.append(piece)
        start = piece.lstrip()[:1] if self.blank else ""
        self.blank = self.blank and not start
        return start == "{"

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def arguments(self) -> dict[str, Any] | None:
        """None: they are no object, as where the answer was cut."""
        return as_object(self.text)

    @property
    def as_text(self) -> str:
        """A call that is none, for its caller to read."""
        return f"{self.name}: {self.text}"


class MessageWriter:
    def __init__(self, id: str, options: AnswerOptions, limit: int | None) -> None:
        """`limit`: tokens that the caller would have taken."""
        self._id, self._options, self._limit = id, options, limit
        self._reader = AnswerReader(options.reading)
        self._open: Part | None = None
        self._blocks = 0
        """That have been opened."""
        self._call: ContentBlock | None = None
        """That is being read, in a stream."""
        self._called = False
        """At least one call is whole."""
        self._ended: Choice | None = None
        self._gathered: list[ContentBlock] = []
        """Of an answer that is not streamed."""

    def begin(self, source: int, sampling: SamplingParams) -> None:
        self._reader = AnswerReader(self._options.reading, sampling)

    def first(self, source: int, prompt_token_ids: Sequence[int], prompt_tokens: int) -> bytes:
        usage = _usage(prompt_tokens, 0, 0)
        return event("message_start", message=self._message([], None, None, usage)) + PING

    def events(self, source: int, update: Update) -> bytes:
        out = b""
        for choice in update.choices:
            for found in self._reader.read(choice):
                out += self._told(found)
            if choice.finish_reason is not None:
                self._ended = choice
                out += self._end_call() + self._close()
        return out

    def last(self, answers: Sequence[Answer]) -> bytes:
        reason, sequence = self._reason(answers)
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        return event("message_delta", delta=delta, usage=usage_of(answers)) + event("message_stop")

    def failed(self, failure: Failure) -> bytes:
        return anthropic_event(failure, self._id)

    def gather(self, source: int, update: Update) -> int:
        for choice in update.choices:
            for found in self._reader.read(choice):
                self._gather(found)
            choice.text, choice.logprobs = "", []
            if choice.finish_reason is not None:
                self._ended = choice
        return 0

    def whole(self, answers: Sequence[Answer]) -> Iterator[bytes]:
        content = [self._finished(block) for block in self._gathered]
        reason, sequence = self._reason(answers)
        yield encode_json(self._message(content, reason, sequence, usage_of(answers)))

    def _message(
        self,
        content: list[dict[str, Any]],
        reason: str | None,
        sequence: str | None,
        usage: dict[str, Any],
    ) -> dict[str, Any]:
        return {
            "id": f"msg_{self._id}",
            "type": "message",
            "role": "assistant",
            "model": self._options.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": usage,
        }

    def _told(self, found: News) -> bytes:
        """The events of a piece of the answer."""
        match found:
            case Words(text):
                return self._end_call() + self._say(text)
            case Thinking(text):
                before = self._end_call()
                if self._open != "thinking":
                    before += self._begin("thinking", thinking="", signature="")
                delta = {"type": "thinking_delta", "thinking": text}
                return before + event("content_block_delta", index=self._blocks - 1, delta=delta)
            case ToolCall(_, _, name):
                before = self._end_call() + self._close()
                self._call = ContentBlock("tool_use", name)
                return before
            case ToolArguments(_, piece):
                return self._argue(piece)

    def _say(self, text: str) -> bytes:
        before = b"" if self._open == "text" else self._begin("text", text="")
        return before + TEXT % (self._blocks - 1) + encode_json(text) + b"}}\n\n"

    def _argue(self, piece: str) -> bytes:
        """Arguments are told as they come once they begin as an object; else they wait. Where they
        stop being JSON, which no client reads, the rest is text."""
        call, out = self._call, b""
        assert call is not None
        if call.add(piece):
            out, piece = self._begin_call(call), call.text
        elif self._open is None:
            return b""
        told = 0 if call.broken else call.prefix.feed(piece)
        if told:
            delta = {"type": "input_json_delta", "partial_json": piece[:told]}
            out += event("content_block_delta", index=self._blocks - 1, delta=delta)
        if told < len(piece):
            call.broken = True
            out += self._say(piece[told:])
        return out

    def _begin_call(self, call: ContentBlock) -> bytes:
        return self._begin("tool_use", id=_tool_id(), name=call.name, input={})

    def _end_call(self) -> bytes:
        """The call that is being read, if there is one, is over."""
        call, self._call = self._call, None
        if call is None:
            return b""
        whole = call.arguments is not None
        self._called |= whole
        before = b""
        if self._open is None:
            before = self._begin_call(call) if whole else self._say(call.as_text)
        return before + self._close()

    def _begin(self, part: Part, **fields: Any) -> bytes:
        before = self._close()
        self._open = part
        self._blocks += 1
        block = {"type": part, **fields}
        return before + event("content_block_start", index=self._blocks - 1, content_block=block)

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return event("content_block_stop", index=self._blocks - 1)

    def _gather(self, found: News) -> None:
        match found:
            case Words(text):
                self._growing("text").add(text)
            case Thinking(text):
                self._growing("thinking").add(text)
            case ToolCall(_, _, name):
                self._gathered.append(ContentBlock("tool_use", name))
            case ToolArguments(_, piece):
                self._gathered[-1].add(piece)

    def _growing(self, part: Part) -> ContentBlock:
        if not self._gathered or self._gathered[-1].part != part:
            self._gathered.append(ContentBlock(part))
        return self._gathered[-1]

    def _finished(self, block: ContentBlock) -> dict[str, Any]:
        match block.part:
            case "text":
                return {"type": "text", "text": block.text}
            case "thinking":
                return {"type": "thinking", "thinking": block.text, "signature": ""}
        if (given := block.arguments) is None:
            return {"type": "text", "text": block.as_text}
        self._called = True
        return {"type": "tool_use", "id": _tool_id(), "name": block.name, "input": given}

    def _reason(self, answers: Sequence[Answer]) -> tuple[str, str | None]:
        """Why the answer ended, and at which of the caller's texts."""
        ended = self._ended
        if ended is None or ended.finish_reason == "length":
            tokens = sum(one.finished.completion_tokens for one in answers if one.finished)
            full = self._limit is not None and tokens < self._limit
            return ("model_context_window_exceeded" if full else "max_tokens"), None
        if self._called:
            return "tool_use", None
        if isinstance(ended.stop_reason, str):
            return "stop_sequence", ended.stop_reason
        return "end_turn", None


def usage_of(answers: Sequence[Answer]) -> dict[str, int]:
    """What was read from the cache counts apart."""
    ended = [answer.finished for answer in answers if answer.finished is not None]
    prompt = sum(one.usage.prompt_tokens for one in ended)
    cached = sum(one.usage.cached_tokens for one in ended)
    return _usage(prompt - cached, cached, sum(one.completion_tokens for one in ended))


def _usage(prompt: int, cached: int, completion: int) -> dict[str, int]:
    return {
        "input_tokens": prompt,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": completion,
    }


def _tool_id() -> str:
    return f"toolu_{secrets.token_hex(12)}"
