"""The items of a response as they grow, and the events that tell it. One is open at a time.
Pure."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from ..answers.writer import encode_json
from ..news.reader import News, Thinking
from ..tools.json_reader import Words
from ..tools.tool_calls import ToolCall

ItemStatus = Literal["in_progress", "completed", "incomplete"]
ItemKind = Literal["message", "reasoning", "function_call"]
PREFIXES: dict[ItemKind, str] = {"message": "msg", "reasoning": "rs", "function_call": "fc"}
TOLD_AS: dict[ItemKind, str] = {
    "message": "response.output_text",
    "reasoning": "response.reasoning_text",
    "function_call": "response.function_call_arguments",
}
"""What the events of an item's text are called, before `.delta` and `.done`."""


class OutputItem:
    """A message, what was thought, or a call: what it has beside its text does not change."""

    def __init__(self, kind: ItemKind, id: str, call: ToolCall | None = None) -> None:
        self.kind, self.id, self._call = kind, id, call
        self.pieces: list[str] = []
        self.scores: list[msgspec.Raw] = []

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def part(self) -> dict[str, Any] | None:
        """Its content, which a call has not."""
        match self.kind:
            case "message":
                return {
                    "type": "output_text",
                    "text": self.text,
                    "annotations": [],
                    "logprobs": self.scores,
                }
            case "reasoning":
                return {"type": "reasoning_text", "text": self.text}
        return None

    def shown(self, status: ItemStatus) -> dict[str, Any]:
        content = [] if status == "in_progress" else [self.part()]
        told: dict[str, Any] = {"id": self.id, "type": self.kind, "status": status}
        match self.kind:
            case "message":
                return {**told, "role": "assistant", "content": content}
            case "reasoning":
                return {**told, "summary": [], "content": content, "encrypted_content": None}
        assert self._call is not None
        return {
            **told,
            "call_id": self._call.id,
            "name": self._call.name,
            "arguments": self.text,
        }


class Output:
    """`token`: of the response, whose items are named after it."""

    def __init__(self, token: str, streamed: bool) -> None:
        self._token, self._streamed = token, streamed
        self._number = 0
        """Of the next event."""
        self.items: list[msgspec.Raw] = []
        """That are over."""
        self._open: OutputItem | None = None
        self._unplaced: list[msgspec.Raw] = []
        """Log-probabilities of tokens whose text has not come yet."""

    def event(self, kind: str, **fields: Any) -> bytes:
        """Nothing, where nobody reads them."""
        if not self._streamed:
            return b""
        body = encode_json({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), body)

    def score(self, scores: Sequence[msgspec.Raw]) -> None:
        """Log-probabilities of the tokens of what comes next."""
        self._unplaced += scores

    def add(self, news: News) -> bytes:
        match news:
            case Words(text):
                return self._grow("message", text)
            case Thinking(text):
                return self._grow("reasoning", text)
            case ToolCall():
                return self.close() + self._begin("function_call", news)
        return self._grow("function_call", news.text)

    def close(self, status: ItemStatus = "completed") -> bytes:
        """The open item ends."""
        if (item := self._open) is None:
            return b""
        self._open = None
        if item.kind == "message":
            item.scores += self._unplaced
        self._unplaced = []
        shown, part, text = item.shown(status), item.part(), item.text
        told: dict[str, Any] = {"arguments": text} if part is None else {"text": text}
        if item.kind == "message":
            told["logprobs"] = item.scores
        out = self._of_part(f"{TOLD_AS[item.kind]}.done", item, **told)
        if part is not None:
            out += self._of_part("response.content_part.done", item, part=part)
        out += self.event("response.output_item.done", output_index=len(self.items), item=shown)
        self.items.append(msgspec.Raw(encode_json(shown)))
        return out

    def finish(self, status: ItemStatus) -> bytes:
        """The answer is over. One that says nothing is an empty message."""
        out = b"" if self._open is not None or self.items else self._begin("message")
        return out + self.close(status)

    def _grow(self, kind: ItemKind, text: str) -> bytes:
        out = b""
        if self._open is None or self._open.kind != kind:
            out = self.close() + self._begin(kind)
        assert self._open is not None
        self._open.pieces.append(text)
        told: dict[str, Any] = {"delta": text}
        if kind == "message":
            told["logprobs"] = self._unplaced
            self._open.scores += self._unplaced
        self._unplaced = []
        return out + self._of_part(f"{TOLD_AS[kind]}.delta", self._open, **told)

    def _begin(self, kind: ItemKind, call: ToolCall | None = None) -> bytes:
        item = OutputItem(kind, f"{PREFIXES[kind]}_{self._token}o{len(self.items)}", call)
        self._open = item
        shown = item.shown("in_progress")
        out = self.event("response.output_item.added", output_index=len(self.items), item=shown)
        if (part := item.part()) is not None:
            out += self._of_part("response.content_part.added", item, part=part)
        return out

    def _of_part(self, kind: str, item: OutputItem, **fields: Any) -> bytes:
        """An event of the open item, or of its content."""
        within = {} if item.kind == "function_call" else {"content_index": 0}
        at = {"item_id": item.id, "output_index": len(self.items), **within}
        return self.event(kind, **at, **fields)
