"""The tool calls of one choice: found in its text, numbered and named."""

import secrets
from collections.abc import Iterator
from typing import NamedTuple

from .definitions import ToolUse
from .json_reader import Arguments, CallStart, Words
from .parsers import make_parser


class ToolCall(NamedTuple):
    """A call begins; its arguments follow."""

    number: int
    """Of the call among those of its choice, from 0."""
    id: str
    name: str


class ToolArguments(NamedTuple):
    """A further piece of a call's arguments: JSON text."""

    number: int
    """Of the call among those of its choice, from 0."""
    text: str


class ToolCalls:
    def __init__(self, tools: ToolUse) -> None:
        self._parser = make_parser(tools.style, tools.schemas)
        self._parallel = tools.parallel
        self.count = 0
        """Calls that have begun."""

    def split(self, text: str, over: bool) -> Iterator[Words | ToolCall | ToolArguments]:
        """In the order in which they came. Where only one call is allowed, those after it are left
        out. `over`: no text follows."""
        for event in (*self._parser.feed(text), *(self._parser.finish() if over else ())):
            match event:
                case Words():
                    yield event
                case CallStart(name):
                    self.count += 1
                    if self._shown:
                        yield ToolCall(self.count - 1, f"call_{secrets.token_hex(12)}", name)
                case Arguments(piece):
                    if self._shown:
                        yield ToolArguments(self.count - 1, piece)

    @property
    def _shown(self) -> bool:
        return self._parallel or self.count == 1
