"""Checkpoints whose tokenizer merges letters, as published ones do: cut in another place, a text
has other ids.

The tiny checkpoints' own tokenizer knows bytes alone, so that it cannot tell a text encoded whole
from its pieces. These have as many tokens as it has, and the same special tokens at the same ids.
"""

import shutil
from pathlib import Path
from typing import Any, Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

Style = Literal["bytes", "sentencepiece"]
PLAIN = 256
"""Ids below the special tokens'."""
MERGES = (
    "t h", "th e", "i n", "in g", "a n", "an d", "e r", "o n", "r e", "a t", "i m", "im a", "< |",
    "| >", "o u", "y ou", "l l",
    "! !", "! <", "s e", "e n", "en d", "a s",
)  # fmt: skip
AFTER_SPACE = ("t", "a", "w", "the", "and")
"""Merged with the space before them."""
SEEN = (
    frozenset(b"\t\n\r")
    | frozenset(range(0x20, 0x7F))
    | frozenset(range(0x80, 0xC0))
    | frozenset(range(0xC2, 0xF5))
)
"""Bytes that text in UTF-8 is made of."""


def with_merges(folder: Path, target: Path, style: Style) -> Path:
    """A copy of the tiny checkpoint in `folder`. `sentencepiece`: a space before every text, and no
    bounds of words."""
    shutil.copytree(folder, target)
    file = target / "tokenizer.json"
    specials = sorted(Tokenizer.from_file(str(file)).get_added_tokens_decoder().items())
    made = _of_bytes() if style == "bytes" else _of_pieces()
    made.add_special_tokens(
        [AddedToken(token.content, normalized=False, special=True) for _, token in specials]
    )
    assert sorted(
        (i, token.content) for i, token in made.get_added_tokens_decoder().items() if i >= PLAIN
    ) == [(i, token.content) for i, token in specials]
    made.save(str(file))
    return target


def _of_bytes() -> Tokenizer:
    letters = pre_tokenizers.ByteLevel.alphabet()
    byte_letters = dict(zip(_byte_order(), sorted(letters), strict=True))
    space = byte_letters[0x20]
    core = Tokenizer(_bpe([byte_letters[byte] for byte in sorted(SEEN)], space))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    core.decoder = decoders.ByteLevel()
    return core


def _byte_order() -> list[int]:
    """Bytes in the order of their letters: those that show as themselves, then the others from
    U+0100 on."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return shown + [byte for byte in range(256) if byte not in shown]


def _of_pieces() -> Tokenizer:
    core = Tokenizer(
        _bpe(
            ["<unk>", "\n", *map(chr, range(0x21, 0x7F)), "▁", *"äöüßéèñ日本語"],
            "▁",
            unk_token="<unk>",
        )
    )
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return core


def _bpe(letters: list[str], space: str, **options: Any) -> models.BPE:
    merges = [(left, right) for left, right in (merge.split() for merge in MERGES)] + [
        (space, word) for word in AFTER_SPACE
    ]
    tokens = dict.fromkeys([*letters, *(left + right for left, right in merges)])
    assert len(tokens) <= PLAIN
    filler = [f"\U000e0000{index}" for index in range(PLAIN - len(tokens))]
    return models.BPE(
        vocab={token: index for index, token in enumerate([*tokens, *filler])},
        merges=merges,
        **options,
    )
