"""Calls in a text, behind marks; the events add up to the same however the text is cut. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .blocks import SPACES, Block, Grammar
from .json_reader import Event, Words


class Marked(NamedTuple):
    """How a style marks its calls."""

    grammar: Grammar
    opens: tuple[str, ...]
    """Any of them begins calls, wherever it stands."""
    closes: tuple[str, ...] = ()
    """May follow a call, and is left out; also where text goes on behind what is malformed."""
    start: str = ""
    """Begins calls, of given functions alone, at the beginning of an answer."""


class MarkedParser:
    """White space next to a call belongs to the markup; text without calls comes out unchanged."""

    def __init__(self, style: Marked, schemas: Mapping[str, Any]) -> None:
        self._style, self._schemas = style, schemas
        self._held = ""
        """Undecided: what may be the beginning of a mark."""
        self._blank: list[str] = []
        """White space that nothing has followed yet."""
        self._raw: list[str] = []
        """What would be text if the block is no call after all."""
        self._block: Block | None = None
        self._at_start, self._behind = True, False
        self._state: Callable[[str, list[Event]], str] = self._in_text

    def feed(self, text: str) -> list[Event]:
        """The events that are certain once this text has come."""
        events: list[Event] = []
        while text:
            text = self._state(text, events)
        return events

    def finish(self) -> list[Event]:
        """The end of the text: events for what was held back."""
        told = ""
        if self._block is not None:
            told = "" if self._block.started else "".join(self._raw)
        elif self._state == self._in_text:
            told = "".join(self._blank) + self._held
        return [Words(told)] if told else []

    def _in_text(self, text: str, events: list[Event]) -> str:
        """Returns what comes after an opening mark."""
        text, self._held = self._held + text, ""
        if self._at_start and self._style.start:
            body = text.lstrip(SPACES)
            if body.startswith(self._style.start):
                self._blank.append(text[: len(text) - len(body)])
                return self._begin(self._style.start, body, self._schemas)
            self._at_start = not body
        found = [(at, mark) for mark in self._style.opens if (at := text.find(mark)) >= 0]
        if found:
            at, mark = min(found)
            self._say(text[:at], events)
            return self._begin(mark, text[at:], None)
        sure = len(text) - max(overlap(text, mark) for mark in self._style.opens)
        self._say(text[:sure], events)
        self._held = text[sure:]
        return ""

    def _say(self, words: str, events: list[Event]) -> None:
        sure = words.rstrip(SPACES)
        if sure:
            before = "".join(self._blank)
            events.append(Words(sure.lstrip(SPACES) if self._behind else before + sure))
            self._blank.clear()
            self._at_start = self._behind = False
        if not self._behind and len(sure) < len(words):
            self._blank.append(words[len(sure) :])

    def _begin(self, mark: str, text: str, names: Mapping[str, Any] | None) -> str:
        self._raw = [*self._blank, mark]
        self._blank.clear()
        self._at_start = False
        self._block = Block(self._style.grammar, mark, self._schemas, names)
        self._state = self._in_block
        return text[len(mark) :]

    def _in_block(self, text: str, events: list[Event]) -> str:
        """Returns what comes after the calls."""
        assert self._block is not None
        block, told = self._block, len(events)
        used = block.feed(text, events)
        if not block.started:
            self._raw.append(text[:used])
        if block.done or block.bad:
            self._block = None
            self._behind = block.started
            self._state = self._close if block.started else self._in_text
            if block.bad and block.started:
                self._state = self._skip
            elif not block.started:
                raw = "".join(self._raw)
                keep = max(overlap(raw, mark) for mark in self._style.opens)
                events.insert(told, Words(raw[: len(raw) - keep]))
                return raw[len(raw) - keep :] + text[used:]
        return text[used:]

    def _close(self, text: str, events: list[Event]) -> str:
        """Behind calls, where a closing mark may stand."""
        held = (self._held + text).lstrip(SPACES)
        self._held = ""
        for mark in self._style.closes:
            if held.startswith(mark):
                self._state = self._in_text
                return held[len(mark) :]
        if any(mark.startswith(held) for mark in self._style.closes):
            self._held = held
            return ""
        self._state = self._in_text
        return held

    def _skip(self, text: str, events: list[Event]) -> str:
        """The rest of a call that is malformed."""
        text, self._held = self._held + text, ""
        ends = [at + len(mark) for mark in self._style.closes if (at := text.find(mark)) >= 0]
        if ends:
            self._state = self._in_text
            return text[min(ends) :]
        keep = max((overlap(text, mark) for mark in self._style.closes), default=0)
        self._held = text[len(text) - keep :]
        return ""


def overlap(text: str, mark: str) -> int:
    """Characters at the end of `text` that may be the beginning of `mark`."""
    return next(
        (n for n in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:n])), 0
    )
