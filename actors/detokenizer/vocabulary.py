"""The tokenizer as the detokenizer needs it: ids to text, and each token's own bytes."""

import json
from typing import Any

from tokenizers import Tokenizer

from ...protocol.checkpoint.tokenizer_file import tokenizer_text
from ...protocol.errors import EngineError


class Vocabulary:
    """Decodes ids, and knows each token's bytes, whatever scheme the vocabulary is written in."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._verbatim = {id: token.content.encode() for id, token in added.items()}
        types = _decoder_types(tokenizer)
        self._byte_level = "ByteLevel" in types
        self.says_bytes = types == ["ByteLevel"]
        """A text is its tokens' bytes side by side (`said`), whatever stands beside each."""
        self._special = {id for id, token in added.items() if token.special}
        self._said: dict[int, bytes] = {}
        """Of tokens that have been said so far; at most the vocabulary's size, like `_shown`."""
        self._shown: dict[int, tuple[str, bytes]] = {}
        """Tokens that log-probabilities have named so far; at most the vocabulary's size."""

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

    def said(self, id: int, skip_special_tokens: bool) -> bytes:
        """What a token adds to a text, where `says_bytes`; b"" for one that is not there."""
        if skip_special_tokens and id in self._special:
            return b""
        known = self._said.get(id)
        if known is None:
            known = self._said[id] = _written_bytes(self._tokenizer.id_to_token(id) or "")
        return known

    def token(self, id: int) -> tuple[str, bytes]:
        """The token alone: its text (a partial character as U+FFFD) and bytes; or empty."""
        known = self._shown.get(id)
        if known is None:
            raw = self._bytes(id)
            known = self._shown[id] = (raw.decode("utf-8", "replace"), raw)
        return known

    def _bytes(self, id: int) -> bytes:
        if id in self._verbatim:
            return self._verbatim[id]
        written = self._tokenizer.id_to_token(id)
        if written is None:
            return b""
        if self._byte_level:
            return b"".join(_BYTE_OF.get(c, c.encode()) for c in written)
        if len(written) == 6 and written.startswith("<0x") and written.endswith(">"):
            return bytes([int(written[3:5], 16)])
        return written.replace("\u2581", " ").encode()


def load(folder: str, parts: str = "") -> Vocabulary:
    """`parts`: of `ModelFacts`. Raises EngineError where there is no readable tokenizer.json."""
    try:
        return Vocabulary(Tokenizer.from_str(tokenizer_text(folder, parts)))
    except Exception as error:  # tokenizers raises bare Exception
        raise EngineError(f"tokenizer.json in {folder!r} cannot be read as a tokenizer.") from error


def _decoder_types(tokenizer: Tokenizer) -> list[str]:
    """The names of the decoder and of those inside it."""
    if tokenizer.decoder is None:
        return []
    found: list[str] = []
    waiting: list[Any] = [json.loads(tokenizer.decoder.__getstate__())]
    while waiting:
        node = waiting.pop()
        found.append(node["type"])
        waiting.extend(node.get("decoders", ()))
    return found


def _byte_alphabet() -> dict[str, int]:
    """What byte-level vocabularies write for each byte: itself where it prints, else 256 + n."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in set(printable)]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(rest)}


def _written_bytes(written: str) -> bytes:
    """As the byte-level decoder reads it: as it is, where a character is not of the alphabet."""
    found = [_BYTE_OF.get(char) for char in written]
    return written.encode() if None in found else b"".join(filter(None, found))


_BYTE_OF = {char: bytes([byte]) for char, byte in _byte_alphabet().items()}
