"""Texts of consecutive pieces become one. Pure."""

MOST_BEFORE = 64
"""Characters that may stand before the mark of an answer's text."""
_UNSPACED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0xA4CF),
             (0xF900, 0xFAFF), (0xFE30, 0xFE4F), (0xFF00, 0xFF9F), (0x20000, 0x3FFFF))  # fmt: skip
"""Code points of scripts that put no spaces between words."""


class MarkedText:
    """The text of one answer behind `mark`, or the whole where there is none."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._held = ""

    def add(self, text: str) -> str:
        """What of it can be told now."""
        if not self._mark:
            return text
        self._held += text
        _, found, rest = self._held.partition(self._mark)
        if found or len(self._held) > MOST_BEFORE:
            self._mark = ""
            return rest if found else self._held
        return ""

    def end(self) -> str:
        held, self._held = (self._held, "") if self._mark else ("", "")
        return held


class JoinedText:
    """One text of all: white space at the edges of a piece gives way to one space, or to nothing in
    scripts that have none. `piece` is the text of the piece that comes."""

    def __init__(self) -> None:
        self._last = ""
        self._waiting = ""
        """White space that may be the piece's end."""
        self.piece = ""

    def begin(self) -> None:
        """The next piece."""
        self.piece, self._waiting = "", ""

    def add(self, text: str) -> str:
        """More of the piece's text; returns what is to be written behind all before."""
        text = self._waiting + text if self.piece else text.lstrip()
        body = text.rstrip()
        self._waiting = text[len(body) :]
        if not body:
            return ""
        between = ""
        if not self.piece and self._last:
            between = "" if _unspaced(self._last) or _unspaced(body[0]) else " "
        self.piece += body
        self._last = body[-1]
        return between + body


def _unspaced(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _UNSPACED)
