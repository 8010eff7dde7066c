"""Tells thinking from the answer in a text while it comes; the pieces add up to the same however it
is cut. Only a mark at the answer's beginning opens thinking, and only the first closing mark ends
it: whatever spells one elsewhere is text. White space next to a mark belongs to the mark. Pure."""

from typing import NamedTuple

from ....protocol.chat_templates.reasoning import Marks
from ....protocol.requests.thinking import Begins
from ..tools.marked import overlap

SPACES = " \t\r\n"


class Piece(NamedTuple):
    thought: str = ""
    words: str = ""


class Splitter:
    """Of one choice. Work is linear in the text: of what is held back no more than a mark is
    looked at again."""

    def __init__(self, marks: Marks, begins: Begins, follows_words: bool = False) -> None:
        self._marks = marks
        self._state = begins
        self._held = ""
        """Undecided: white space, and what may be the beginning of a mark."""
        self._blank: list[str] = []
        """White space that nothing has followed yet."""
        self._untitled = bool(marks.title) and not follows_words
        self._leading = not follows_words
        """White space that comes now belongs to the mark before it."""

    def feed(self, text: str) -> Piece:
        """What is certain once this text has come."""
        if self._state == "perhaps":
            text = self._begin(text)
        thought = ""
        if self._state == "thinking":
            thought, text = self._think(text)
        if self._state == "answer":
            return Piece(thought, self._answer(text))
        return Piece(thought)

    def finish(self) -> Piece:
        """The end of the text: what was held back."""
        held, self._held = self._held, ""
        if self._state == "perhaps":
            return Piece(words="".join(self._blank) + held)
        if self._state == "thinking":
            return Piece(self._told(held))
        return Piece()

    def _begin(self, text: str) -> str:
        """Until it is certain how the answer begins; returns what comes after that."""
        held, open = self._held + text, self._marks.open
        if not self._held:
            body = held.lstrip(SPACES)
            self._blank.append(held[: len(held) - len(body)])
            held = body
        if held.startswith(open):
            self._state, self._held, before = "thinking", "", ""
            held = held[len(open) :]
        elif open.startswith(held):
            self._held = held
            return ""
        else:
            self._state, self._held, self._leading = "answer", "", False
            before = "".join(self._blank)
        self._blank.clear()
        return before + held

    def _think(self, text: str) -> tuple[str, str]:
        """What of it is thinking, and what comes after that."""
        text, close, title = self._held + text, self._marks.close, self._marks.title
        self._held = ""
        if self._untitled:
            if len(text) < len(title) and title.startswith(text):
                self._held = text
                return "", ""
            self._untitled = False
            text = text.removeprefix(title)
        found = text.find(close)
        if found >= 0:
            thought = self._told(text[:found])
            self._state, self._leading = "answer", True
            self._blank.clear()
            return thought, text[found + len(close) :]
        sure = len(text) - overlap(text, close)
        self._held = text[sure:]
        return self._told(text[:sure]), ""

    def _told(self, text: str) -> str:
        """`text` is thinking; white space waits until something follows it."""
        sure = text.rstrip(SPACES)
        told = ""
        if sure:
            told = sure.lstrip(SPACES) if self._leading else "".join(self._blank) + sure
            self._leading = False
            self._blank.clear()
        if not self._leading and len(sure) < len(text):
            self._blank.append(text[len(sure) :])
        return told

    def _answer(self, text: str) -> str:
        if self._leading:
            text = text.lstrip(SPACES)
            self._leading = not text
        return text
