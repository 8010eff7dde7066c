"""Finds tool calls in a model's text while it comes; the events add up to the same however it is
cut. `hermes` (Hermes, Qwen): `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, with text
around it. `json` (Llama 3): the whole answer is such an object, or several, or a list of them;
`parameters` may replace `arguments`. Pure."""

from collections.abc import Iterable
from typing import Literal

from .json_reader import CallReader, Event, Words

Style = Literal["hermes", "json"]
OPEN, CLOSE = "<tool_call>", "</tool_call>"
PYTHON_TAG = "<|python_tag|>"


def make_parser(style: Style, names: Iterable[str]) -> "HermesParser | JsonParser":
    """`names`: of the functions; in the json style an object with another one is not a call."""
    return HermesParser() if style == "hermes" else JsonParser(frozenset(names))


class HermesParser:
    """White space next to a call belongs to the markup; text without calls comes out unchanged."""

    def __init__(self) -> None:
        self._held = ""
        """Undecided text: white space, and what may be the beginning of a tag."""
        self._reader: CallReader | None = None
        """Reads the call that the text is in."""
        self._raw = ""
        """The text of that call and the white space before it, until it is certain to be a call."""
        self._behind_call = False

    def feed(self, text: str) -> list[Event]:
        """The events that are certain once this text has come."""
        events: list[Event] = []
        while text:
            if self._reader is None:
                text = self._in_text(text, events)
            else:
                text = self._in_call(self._reader, text, events)
        return events

    def finish(self) -> list[Event]:
        """The end of the text: events for what was held back."""
        if self._reader is not None:
            return [] if self._reader.started else [Words(self._raw)]
        blank = not self._held or (self._behind_call and self._held.isspace())
        return [] if blank else [Words(self._held)]

    def _in_text(self, text: str, events: list[Event]) -> str:
        """Returns what comes after an opening tag."""
        held = self._held + text
        if self._behind_call:
            held = held.lstrip()
        found = held.find(OPEN)
        if found >= 0:
            words = held[:found].rstrip()
            self._say(words, events)
            self._held, self._raw, self._reader = "", held[len(words) : found] + OPEN, CallReader()
            return held[found + len(OPEN) :]
        sure = len(held[: len(held) - _overlap(held, OPEN)].rstrip())
        self._say(held[:sure], events)
        self._held = held[sure:]
        return ""

    def _say(self, words: str, events: list[Event]) -> None:
        if words:
            events.append(Words(words))
            self._behind_call = False

    def _in_call(self, reader: CallReader, text: str, events: list[Event]) -> str:
        """Returns what comes after the call."""
        if reader.done:
            return self._behind(text)
        if not reader.bad:
            used = reader.feed(text, events)
            if not reader.started:
                self._raw += text[:used]
            if reader.done:
                self._held = ""
                return text[used:]
            text = text[used:]
        if reader.bad:
            self._raw += text
            found = self._raw.find(CLOSE)
            if found >= 0:
                rest = self._raw[found + len(CLOSE) :]
                if not reader.started:
                    events.append(Words(self._raw[: found + len(CLOSE)]))
                self._leave(behind_call=reader.started)
                return rest
        return ""

    def _behind(self, text: str) -> str:
        """Between the end of the object and the closing tag, which some models leave out."""
        held = (self._held + text).lstrip()
        if held.startswith(CLOSE) or not CLOSE.startswith(held):
            self._leave(behind_call=True)
            return held.removeprefix(CLOSE)
        self._held = held
        return ""

    def _leave(self, behind_call: bool) -> None:
        self._reader, self._raw, self._held, self._behind_call = None, "", "", behind_call


class JsonParser:
    """The first character that is not white space decides whether the answer may be a call."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._raw = ""
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
        held, self._raw = self._raw, ""
        if self._reader.started or (self._any and not held.strip(" \t\r\n,;]")):
            return []
        return [Words(held)] if held else []

    def _begin(self, text: str, events: list[Event]) -> str:
        self._raw += text
        body = self._raw.lstrip()
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
            self._raw = self._raw[: len(self._raw) - len(body)]
            self._state = "call"
            return body
        self._give_up(events)
        return ""

    def _between(self, text: str) -> str:
        rest = text.lstrip(" \t\r\n,;]")
        self._raw += text[: len(text) - len(rest)]
        if rest:
            self._raw = ""
            self._state = "call" if rest[0] == "{" else "text"
            self._reader = CallReader(self._names)
        return rest

    def _in_call(self, text: str, events: list[Event]) -> str:
        reader = self._reader
        used = reader.feed(text, events)
        if reader.started:
            self._raw, self._any = "", True
        else:
            self._raw += text[:used]
        if reader.bad:
            if not reader.started:
                self._raw += text[used:]
                self._give_up(events)
                return ""
            self._state = "text"
        if reader.done:
            self._state, self._reader = "between", CallReader(self._names)
        return text[used:]

    def _give_up(self, events: list[Event]) -> None:
        """It is plain text after all."""
        events.append(Words(self._raw))
        self._raw, self._state = "", "text"


def _overlap(text: str, tag: str) -> int:
    """Characters at the end of `text` that may be the beginning of `tag`."""
    return next(
        (n for n in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:n])), 0
    )
