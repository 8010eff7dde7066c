"""What reads one call, or several, behind a mark: a generator that is sent each character. Pure."""

from collections.abc import Callable, Collection, Generator, Mapping
from itertools import groupby
from typing import Any, Protocol

from .json_reader import Arguments, CallStart, Event

SPACES = " \t\r\n"
MOST_NAME = 256
"""Characters of a function's or an argument's name; what is longer is none."""
Machine = Generator[None, str, str]
"""Ends with a character that it has been sent and does not want, or with ""."""
Steps = Generator[None, str, str]


class Malformed(Exception):
    """The last character cannot stand where it stands."""


class Grammar(Protocol):
    """How a style writes calls behind a mark."""

    def __call__(self, block: "Block", mark: str) -> Machine: ...


class Block:
    """Text behind a mark."""

    def __init__(
        self,
        grammar: Grammar,
        mark: str,
        schemas: Mapping[str, Any],
        names: Collection[str] | None = None,
    ) -> None:
        """`names`: a call of another function is none; None: the mark alone makes it a call."""
        self.schemas = schemas
        self._names = names
        self.started = False
        """Something of it is certain to be a call."""
        self.done = self.bad = False
        self.events: list[Event] = []
        self._pieces: list[str] = []
        self._machine = grammar(self, mark)
        next(self._machine)

    def start(self, name: str) -> None:
        """Raises Malformed for a function that there is none of, where that matters."""
        if not name or (self._names is not None and name not in self._names):
            raise Malformed
        self.flush()
        self.started = True
        self.events.append(CallStart(name))

    def tell(self, piece: str) -> None:
        """A further piece of the last call's arguments."""
        self._pieces.append(piece)

    def flush(self) -> None:
        if self._pieces:
            self.events.append(Arguments("".join(self._pieces)))
            self._pieces.clear()

    def argument(self, function: str, name: str) -> Any:
        """The schema of an argument."""
        schema = self.schemas.get(function)
        properties = schema.get("properties") if isinstance(schema, dict) else None
        return properties.get(name) if isinstance(properties, dict) else None

    def feed(self, text: str, events: list[Event]) -> int:
        """Returns how many characters it has taken: all, unless it has ended or is malformed."""
        used = len(text)
        for index, char in enumerate(text):
            try:
                self._machine.send(char)
            except StopIteration as end:
                self.done, used = True, index + (0 if end.value else 1)
                break
            except Malformed:
                self.bad, used = True, index
                break
        self.flush()
        events += _merged(self.events)
        self.events = []
        return used


def _merged(events: list[Event]) -> list[Event]:
    """Neighbouring pieces of arguments are one."""
    told: list[Event] = []
    for is_piece, group in groupby(events, lambda event: isinstance(event, Arguments)):
        if is_piece:
            told.append(Arguments("".join(one.text for one in group if isinstance(one, Arguments))))
        else:
            told += group
    return told


# Parts of grammars; each returns the character that comes next, or what it has read.


def spaces(char: str = " ") -> Steps:
    """The first character, from `char` on, that is no white space."""
    while char in SPACES:
        char = yield
    return char


def literal(text: str, first: str = "") -> Steps:
    """Exactly `text`; `first`: its first character, where that has come already."""
    if first and first != text[0]:
        raise Malformed
    for wanted in text[1:] if first else text:
        if (yield) != wanted:
            raise Malformed
    return text


def one_of(texts: tuple[str, ...], first: str) -> Steps:
    """The one of `texts`, none of which begins another, that comes; `first`: its beginning."""
    came = first
    while True:
        left = [text for text in texts if text.startswith(came)]
        if not left:
            raise Malformed
        if came in left:
            return came
        came += yield


def name_before(ends: str, first: str = "") -> Steps:
    """A name and the one character of `ends` behind it, white space around it left out."""
    name, char = "", first or (yield)
    while char not in ends:
        name += char
        if len(name) > MOST_NAME:
            raise Malformed
        char = yield
    return name.strip(SPACES) + char


def until(mark: str, push: Callable[[str], None]) -> Steps:
    """All characters before `mark`, each pushed as soon as it is certain."""
    held = ""
    while held != mark:
        held += yield
        while not mark.startswith(held):
            push(held[0])
            held = held[1:]
    return held
