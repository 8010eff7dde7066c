"""Answers as Anthropic's messages: content blocks, whole or as events. Pure."""

import secrets
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from ....protocol.errors import Failure
from ....protocol.requests.sampling import SamplingParams
from ...client.answer import Answer
from ...client.stream import Choice, Update
from ..answers.arguments import as_object
from ..answers.writer import AnswerOptions, encode_json
from ..news.reader import AnswerReader, News, Thinking
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


class MessageWriter:
    def __init__(self, id: str, options: AnswerOptions, limit: int | None) -> None:
        """`limit`: tokens that the caller would have taken."""
        self._id, self._options, self._limit = id, options, limit
        self._reader = AnswerReader(options.reading)
        self._open: Part | None = None
        self._blocks = 0
        """That have been opened."""
        self._called = False
        self._ended: Choice | None = None
        self._gathered: list[dict[str, Any]] = []
        """Blocks of an answer that is not streamed; `input` is text until the end."""

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
                out += self._close()
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
                before = b"" if self._open == "text" else self._begin("text", text="")
                return before + TEXT % (self._blocks - 1) + encode_json(text) + b"}}\n\n"
            case Thinking(text):
                before = b""
                if self._open != "thinking":
                    before = self._begin("thinking", thinking="", signature="")
                delta = {"type": "thinking_delta", "thinking": text}
                return before + event("content_block_delta", index=self._blocks - 1, delta=delta)
            case ToolCall(_, _, name):
                self._called = True
                call = {"id": _tool_id(), "name": name, "input": {}}
                return self._begin("tool_use", **call)
            case ToolArguments(_, piece):
                delta = {"type": "input_json_delta", "partial_json": piece}
                return event("content_block_delta", index=self._blocks - 1, delta=delta)

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
        blocks = self._gathered
        match found:
            case Words(text) if blocks and blocks[-1]["type"] == "text":
                blocks[-1]["text"] += text
            case Words(text):
                blocks.append({"type": "text", "text": text})
            case Thinking(text) if blocks and blocks[-1]["type"] == "thinking":
                blocks[-1]["thinking"] += text
            case Thinking(text):
                blocks.append({"type": "thinking", "thinking": text, "signature": ""})
            case ToolCall(_, _, name):
                blocks.append({"type": "tool_use", "id": _tool_id(), "name": name, "input": ""})
            case ToolArguments(_, piece):
                blocks[-1]["input"] += piece

    def _finished(self, block: dict[str, Any]) -> dict[str, Any]:
        """A call whose arguments are no object, as where the answer was cut, is shown as text."""
        if block["type"] != "tool_use":
            return block
        given = as_object(block["input"])
        if given is None:
            return {"type": "text", "text": f"{block['name']}: {block['input']}"}
        self._called = True
        return {**block, "input": given}

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
