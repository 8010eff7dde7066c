"""What is typed at the prompt of a chat: commands, and messages of one line or of several. Pure."""

import re
from typing import NamedTuple

QUOTES = '"""'
_COMMAND = re.compile(r"/(\?|[A-Za-z]*)(?:\s+(.*))?", re.DOTALL)
"""A path has a second slash or a dot in its first word."""


class ChatCommand(NamedTuple):
    name: str
    rest: str


class Message(NamedTuple):
    text: str
    typed: bool = True
    """One line at the prompt. Of several, pasted or between quotes, nothing is read as a path: they
    are somebody's words, and a file named there is not meant."""


class LineReader:
    """Gathers the lines between three quotes."""

    def __init__(self) -> None:
        self._block: list[str] | None = None
        self._command: ChatCommand | None = None
        """Whose last word the block is."""

    @property
    def inside(self) -> bool:
        return self._block is not None

    def drop(self) -> None:
        """What was begun is not wanted."""
        self._block = self._command = None

    def feed(self, line: str) -> ChatCommand | Message | None:
        """`line`: without its end; with ends of lines in it where a block was pasted. None: there
        is nothing to do yet."""
        if self._block is not None:
            return self._more(line)
        text = line.strip()
        if text.startswith(QUOTES):
            self._block = []
            return self._more(text.removeprefix(QUOTES))
        found = _COMMAND.fullmatch(text)
        if found is not None and ("\n" not in text or QUOTES in text):
            command = ChatCommand(found[1].lower(), found[2] or "")
            head, quotes, begun = command.rest.partition(QUOTES)
            if not quotes:
                return command
            self._block, self._command = [], ChatCommand(command.name, head)
            return self._more(begun)
        return Message(text, "\n" not in text) if text else None

    def _more(self, line: str) -> ChatCommand | Message | None:
        assert self._block is not None
        self._block.append(line)
        if not line.rstrip().endswith(QUOTES):
            return None
        text = "\n".join(self._block).rstrip().removesuffix(QUOTES).strip("\n")
        command = self._command
        self.drop()
        if command is not None:
            return ChatCommand(command.name, command.rest + text)
        return Message(text, typed=False) if text.strip() else None
