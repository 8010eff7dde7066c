"""Finds tool calls in a model's text while it comes; the events add up to the same however it is
cut. `json` (Llama 3): the whole answer is an object `{"name": ..., "parameters": {...}}`, or
several, or a list of them; `arguments` may replace `parameters`. The others: `grammars.py`.
Pure."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from ....protocol.chat_templates.tool_styles import Style
from .grammars import MARKED
from .json_reader import CallReader, Event, Words
from .marked import MarkedParser

PYTHON_TAG = "<|python_tag|>"


class Parser(Protocol):
    def feed(self, text: str) -> list[Event]:
        """The events that are certain once this text has come."""

    def finish(self) -> list[Event]:
        """The end of the text: events for what was held back."""


def make_parser(style: Style, schemas: Mapping[str, Any]) -> Parser:
    """`schemas`: of the functions' arguments, by name; in the styles without marks a call of
    another function is none."""
    return (
        JsonParser(frozenset(schemas)) if style == "json" else MarkedParser(MARKED[style], schemas)
    )


class JsonParser:
    """The first character that is not white space decides whether the answer may be a call."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._raw: list[str] = []
        """The text since the last call or the beginning, until it is certain to be a call."""
        self._state: Literal["start", "call", "between", "text"] = "start"
        self._reader = CallReader(names)
        self._any = False

    def feed(self, text: str) -> list[Event]:
        events: list[Event] = []
        while text:
            match self._state:
                case "text":
                    events.append(Words(text))
                    text = ""
                case "start":
                    text = self._begin(text, events)
                case "between":
                    text = self._between(text)
                case "call":
                    text = self._in_call(text, events)
        return events

    def finish(self) -> list[Event]:
        held = "".join(self._raw)
        if self._reader.started or (self._any and not held.strip(" \t\r\n,;]")):
            return []
        return [Words(held)] if held else []

    def _begin(self, text: str, events: list[Event]) -> str:
        if not text.strip():
            self._raw.append(text)
            return ""
        held = "".join(self._raw) + text
        self._raw = [held]
        body = held.lstrip()
        if PYTHON_TAG.startswith(body[: len(PYTHON_TAG)]) and len(body) < len(PYTHON_TAG):
            return ""
        body = body.removeprefix(PYTHON_TAG).lstrip()
        if not body:
            return ""
        if body[0] == "[":
            body = body[1:].lstrip()
            if not body:
                return ""
        if body[0] == "{":
            self._raw = [held[: len(held) - len(body)]]
            self._state = "call"
            return body
        self._give_up(events)
        return ""

    def _between(self, text: str) -> str:
        rest = text.lstrip(" \t\r\n,;]")
        self._raw.append(text[: len(text) - len(rest)])
        if rest:
            self._raw = []
            self._state = "call" if rest[0] == "{" else "text"
            self._reader = CallReader(self._names)
        return rest

    def _in_call(self, text: str, events: list[Event]) -> str:
        reader = self._reader
        used = reader.feed(text, events)
        if reader.started:
            self._raw, self._any = [], True
        else:
            self._raw.append(text[:used])
        if reader.bad:
            if not reader.started:
                self._raw.append(text[used:])
                self._give_up(events)
                return ""
            self._state = "text"
        if reader.done:
            self._state, self._reader = "between", CallReader(self._names)
        return text[used:]

    def _give_up(self, events: list[Event]) -> None:
        """It is plain text after all."""
        events.append(Words("".join(self._raw)))
        self._raw, self._state = [], "text"
