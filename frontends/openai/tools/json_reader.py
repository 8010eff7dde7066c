"""Reads the JSON object of one call as it comes, and passes on the arguments. Pure."""

import json
from typing import NamedTuple


class Words(NamedTuple):
    """Text of the answer."""

    text: str


class CallStart(NamedTuple):
    name: str


class Arguments(NamedTuple):
    """A further piece of the last call's arguments: JSON text."""

    text: str


Event = Words | CallStart | Arguments
_SPACES = " \t\r\n"


class CallReader:
    """Reads `{"name": ..., "arguments": ...}`, in any order and with other fields. A call starts
    when name and arguments have begun; an object malformed before that is none."""

    def __init__(self, names: frozenset[str] | None = None) -> None:
        """`names`: an object with another name is not a call."""
        self._names = names
        self.started = False
        self.done = False
        self.bad = False
        self._where = "open"
        self._key = ""
        self._letters: list[str] = []
        """Of a key."""
        self._value: list[str] = []
        self._name: str | None = None
        self._early: str | None = None
        """Arguments that came before the name."""
        self._depth = 0
        """Brackets open within the value."""
        self._in_string = self._escaped = self._begun = False
        self._streams = False
        """Whether the value is passed on as it comes."""

    def feed(self, text: str, events: list[Event]) -> int:
        """Returns how many characters it has taken: all, unless the object ends or is malformed."""
        pieces: list[str] = []
        for index, char in enumerate(text):
            before = len(events)
            self._take(char, events)
            if len(events) > before:  # a start, or arguments as a whole
                if pieces:
                    events.insert(before, Arguments("".join(pieces)))
                pieces = []
            if self._piece:
                pieces.append(self._piece)
            if self.bad or self.done:
                self._flush(pieces, events)
                return index if self.bad else index + 1
        self._flush(pieces, events)
        return len(text)

    @staticmethod
    def _flush(pieces: list[str], events: list[Event]) -> None:
        if pieces:
            events.append(Arguments("".join(pieces)))

    _piece = ""
    """What the last character adds to the arguments that are being passed on."""

    def _take(self, char: str, events: list[Event]) -> None:
        self._piece = ""
        match self._where:
            case "value":
                self._in_value(char, events)
            case "key":
                self._in_key(char)
            case _ if char in _SPACES:
                pass
            case "open":
                self._expect(char == "{", "first key")
            case "first key" | "next key":
                self._at_key(char, events)
            case "colon":
                self._expect(char == ":", "before value")
            case "before value":
                self._begin_value(char, events)
            case "behind value":
                self._behind_value(char, events)

    def _expect(self, fine: bool, then: str) -> None:
        self._where, self.bad = then, not fine

    def _at_key(self, char: str, events: list[Event]) -> None:
        if char == "}" and self._where == "first key":
            self._close(events)
        else:
            self._letters, self._escaped = ['"'], False
            self._expect(char == '"', "key")

    def _in_key(self, char: str) -> None:
        self._letters.append(char)
        if self._escaped:
            self._escaped = False
        elif char == "\\":
            self._escaped = True
        elif char == '"':
            self._key = _string("".join(self._letters)) or ""
            self._where = "colon"

    def _begin_value(self, char: str, events: list[Event]) -> None:
        self._where, self._value, self._depth = "value", [], 0
        self._in_string = self._escaped = self._begun = False
        wanted = self._key in ("arguments", "parameters") and not self.started
        self._streams = wanted and char in "{[" and self._name is not None
        if self._streams:
            self._start(events)
        if char in "]}:,":
            self.bad = True
        elif not self.bad:
            self._in_value(char, events)

    def _start(self, events: list[Event]) -> None:
        assert self._name is not None
        if self._names is not None and self._name not in self._names:
            self.bad = True
        else:
            self.started = True
            events.append(CallStart(self._name))

    def _in_value(self, char: str, events: list[Event]) -> None:
        bare = self._begun and not self._in_string and self._depth == 0
        # A number or a literal ends where something else begins.
        if bare and char in ",}" + _SPACES:
            self._end_value(events)
            if char not in _SPACES and not self.bad:
                self._behind_value(char, events)
            return
        if self._streams:
            self._piece = char
        if not self._streams:
            self._value.append(char)
        self._begun = True
        if self._in_string:
            if self._escaped:
                self._escaped = False
            elif char == "\\":
                self._escaped = True
            elif char == '"':
                self._in_string = False
                if self._depth == 0:
                    self._end_value(events)
        elif char == '"':
            self._in_string = True
        elif char in "{[":
            self._depth += 1
        elif char in "}]":
            self._depth -= 1
            if self._depth <= 0:
                self.bad = self._depth < 0
                self._end_value(events)

    def _end_value(self, events: list[Event]) -> None:
        self._where = "behind value"
        if self._streams or self.bad:
            self._streams = False
            return
        value = "".join(self._value)
        if self._key == "name" and self._name is None:
            self._name = _string(value)
            self.bad = self._name is None
        elif self._key in ("arguments", "parameters") and self._early is None and not self.started:
            text = _string(value)  # some models write the object as a string
            self._early = "{}" if value == "null" else value if text is None else text
        if self._name is not None and self._early is not None and not self.started and not self.bad:
            self._start(events)
            if self.started:
                events.append(Arguments(self._early))

    def _behind_value(self, char: str, events: list[Event]) -> None:
        if char == "}":
            self._close(events)
        else:
            self._expect(char == ",", "next key")

    def _close(self, events: list[Event]) -> None:
        """A call without arguments starts only here, and only in a style that marks its calls."""
        if not self.started:
            if self._name is None or self._names is not None:
                self.bad = True
                return
            self._start(events)
            events.append(Arguments("{}"))
        self.done = True


def _string(value: str) -> str | None:
    """The text of a JSON string; None for any other value."""
    if not value.startswith('"'):
        return None
    try:
        text = json.loads(value, strict=False)
    except ValueError:
        return None
    return text if isinstance(text, str) else None
