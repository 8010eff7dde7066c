"""The tool calls of one choice in OpenAI's form, as deltas or as the whole message."""

import secrets
from typing import Any

import msgspec

from ...client.stream import Choice
from .definitions import ToolUse
from .json_reader import Arguments, CallStart, Event, Words
from .parsers import make_parser


class ToolCalls:
    def __init__(self, tools: ToolUse) -> None:
        self._parser = make_parser(tools.style, tools.schemas)
        self._parallel = tools.parallel
        self._count = 0
        self._taken: list[tuple[dict[str, Any], list[str]]] = []
        """The beginning of each call and the pieces of its arguments."""

    def split(self, choice: Choice) -> tuple[Choice, list[dict[str, Any]]]:
        """The update without the calls in its text, and the deltas of those calls."""
        over = choice.finish_reason is not None
        text, deltas = self._told(self._events(choice.text, over))
        return msgspec.structs.replace(choice, text=text), deltas

    def reason(self, given: str | None) -> str | None:
        """The finish reason: `tool_calls` for an answer that stopped by itself and has a call."""
        return "tool_calls" if given == "stop" and self._count else given

    def take(self, choice: Choice) -> str:
        """Of an answer that comes whole: the text without calls. They are kept for `message`."""
        rest, deltas = self.split(choice)
        for delta in deltas:
            if "id" in delta:
                self._taken.append((delta, []))
            else:
                self._taken[-1][1].append(delta["function"]["arguments"])
        return rest.text

    def message(self, content: str) -> dict[str, Any]:
        """The `content` of a message and, if there are any, its `tool_calls`."""
        calls = [
            {
                "id": begun["id"],
                "type": begun["type"],
                "function": {**begun["function"], "arguments": "".join(pieces)},
            }
            for begun, pieces in self._taken
        ]
        return {"content": content or None, "tool_calls": calls} if calls else {"content": content}

    def _events(self, text: str, over: bool) -> list[Event]:
        return [*self._parser.feed(text), *(self._parser.finish() if over else ())]

    def _told(self, events: list[Event]) -> tuple[str, list[dict[str, Any]]]:
        """Text and deltas. Where only one call is allowed, those after it are left out."""
        text = ""
        deltas: list[dict[str, Any]] = []
        for event in events:
            match event:
                case Words(words):
                    text += words
                case CallStart(name):
                    self._count += 1
                    if self._shown:
                        call = {"id": f"call_{secrets.token_hex(12)}", "type": "function"}
                        function = {"name": name, "arguments": ""}
                        deltas.append({"index": self._count - 1, **call, "function": function})
                case Arguments(piece):
                    if self._shown:
                        deltas.append({"index": self._count - 1, "function": {"arguments": piece}})
        return text, deltas

    @property
    def _shown(self) -> bool:
        return self._parallel or self._count == 1
