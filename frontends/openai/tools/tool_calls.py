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
        self._count = self._told_calls = 0
        """Of calls: found, and told as deltas."""
        self._taken: list[tuple[dict[str, Any], list[str]]] = []
        """The beginning of each call and the pieces of its arguments."""

    def split(self, choice: Choice) -> tuple[Choice, list[dict[str, Any]]]:
        """The update without the calls in its text, and the deltas of those calls."""
        text, deltas = self._told(self.events(choice))
        return msgspec.structs.replace(choice, text=text), deltas

    def events(self, choice: Choice) -> list[Event]:
        """What the update's text says, in its order. Where only one call is allowed, those after it
        are left out."""
        found = self._parser.feed(choice.text)
        if choice.finish_reason is not None:
            found += self._parser.finish()
        return [event for event in found if self._is_told(event)]

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

    def _told(self, events: list[Event]) -> tuple[str, list[dict[str, Any]]]:
        """Text and deltas."""
        text = ""
        deltas: list[dict[str, Any]] = []
        for event in events:
            match event:
                case Words(words):
                    text += words
                case CallStart(name):
                    self._told_calls += 1
                    call = {"id": f"call_{secrets.token_hex(12)}", "type": "function"}
                    function = {"name": name, "arguments": ""}
                    deltas.append({"index": self._told_calls - 1, **call, "function": function})
                case Arguments(piece):
                    deltas.append({"index": self._told_calls - 1, "function": {"arguments": piece}})
        return text, deltas

    def _is_told(self, event: Event) -> bool:
        self._count += isinstance(event, CallStart)
        return isinstance(event, Words) or self._parallel or self._count == 1
