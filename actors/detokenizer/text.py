"""Token ids to text, a token at a time, with the same result as decoding them all at once.

Where tokens are bytes, they are read as UTF-8 as they come. Otherwise each token is decoded
together with a few before it, because its text depends on them: a byte-level token may be a part of
a character, and a SentencePiece token keeps its leading space only behind another token. What ends
in U+FFFD may still become a character, so that tail is held back until it is one, or until
something else follows it.
"""

from codecs import getincrementaldecoder
from collections.abc import Sequence

from .vocabulary import Vocabulary

WINDOW = 10
"""Tokens decoded together before the window moves on."""
TAIL = 4
"""Tokens that a new window keeps of the old one."""
CONTEXT = 6
"""Tokens of the prompt before the output, which continues a text and does not begin one."""
HOPELESS = 64
"""A window this long without a clean end will never be text, and is released as it is."""
PARTIAL = "\ufffd"


class ByteText:
    """Of tokens that are bytes. What follows the prompt begins anew, even within a character."""

    def __init__(self, vocabulary: Vocabulary, skip_special_tokens: bool = True) -> None:
        self._said, self._skip = vocabulary.said, skip_special_tokens
        self._read = getincrementaldecoder("utf-8")("replace").decode

    def push(self, token_id: int) -> str:
        return self._read(self._said(token_id, self._skip))

    def flush(self) -> str:
        """Release what was held back; the stream may go on after it."""
        return self._read(b"", True)


class TextStream:
    """Of tokens whose text depends on those before them."""

    def __init__(
        self, vocabulary: Vocabulary, context: Sequence[int] = (), skip_special_tokens: bool = True
    ) -> None:
        self._decode = vocabulary.decode
        self._skip = skip_special_tokens
        self._ids: list[int] = []
        """The window."""
        self._shown = ""
        """The beginning of the window's text that was released (or was the prompt's)."""
        self._mark = 0
        """Tokens of the window at the last clean end, where all their text was in `_shown` ..."""
        self._marked = 0
        """... and its length there."""
        self._begin(list(context[-CONTEXT:]))

    def push(self, token_id: int) -> str:
        self._ids.append(token_id)
        text = self._window_text()
        stable = text.rstrip(PARTIAL) if text.endswith(PARTIAL) else text
        if len(stable) < len(self._shown):
            stable = self._shown
        new = stable[len(self._shown) :]
        self._shown = stable
        if len(stable) == len(text):
            self._mark, self._marked = len(self._ids), len(text)
            if len(self._ids) > WINDOW:
                self._move(text)
        elif len(self._ids) > HOPELESS:
            new += self.flush()
        return new

    def flush(self) -> str:
        """Release what was held back; the stream may go on after it."""
        text = self._window_text()
        new = text[len(self._shown) :]
        self._begin(self._ids[-TAIL:])
        return new

    def _window_text(self) -> str:
        """Of the whole window; begins with `_shown`."""
        text = self._decode(self._ids, self._skip)
        if not text.startswith(self._shown):
            # Bytes that were text have become none by what followed (byte fallback decodes a run of
            # bytes as one), or the prompt ends inside a character. Released text stays; the tokens
            # behind it are decoded alone.
            text = self._shown[: self._marked] + self._decode(self._ids[self._mark :], self._skip)
        return text

    def _move(self, text: str) -> None:
        """Drop the older tokens where the younger ones decode to the same text without them."""
        tail = self._ids[-TAIL:]
        alone = self._decode(tail, self._skip)
        if (alone and alone[0] != PARTIAL and text.endswith(alone)) or len(self._ids) > HOPELESS:
            self._begin(tail)

    def _begin(self, ids: list[int]) -> None:
        """A new window, all of whose text has been released."""
        self._ids = ids
        self._shown = self._decode(ids, self._skip) if ids else ""
        self._mark, self._marked = len(ids), len(self._shown)


Text = ByteText | TextStream
"""One choice's text. `push` returns what is certain, `flush` the rest."""


def text_of(
    vocabulary: Vocabulary, context: Sequence[int] = (), skip_special_tokens: bool = True
) -> Text:
    """`context`: the prompt."""
    if vocabulary.says_bytes:
        return ByteText(vocabulary, skip_special_tokens)
    return TextStream(vocabulary, context, skip_special_tokens)
