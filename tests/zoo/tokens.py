"""Tokenizers of the two published kinds with no merges: bytes (Qwen, Llama 3, GLM), or pieces with
byte fallback (Llama 2, Mistral, Gemma). Every text is lossless, each byte or letter is a token, and
the special tokens are the published ones.
"""

import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

SPACE = "▁"


class Tokens:
    """The vocabulary of one checkpoint; `tokens["<|im_end|>"]` is an id, `len(tokens)` how many it
    names.

    `special`: published special tokens in their order, which stand behind the letters; `plain`:
    added tokens that are not special, behind those. `bos`, `eos`: what the tokenizer itself writes
    before and behind every text. `leading`: the special tokens have the first ids, before the
    letters.
    """

    def __init__(
        self,
        special: Sequence[str],
        plain: Sequence[str] = (),
        *,
        pieces: bool = False,
        bos: str | None = None,
        eos: str | None = None,
        leading: bool = False,
    ) -> None:
        first = list(special) if leading else ["<unk>", "<s>", "</s>"] if pieces else []
        letters = (
            [f"<0x{byte:02X}>" for byte in range(256)] + [SPACE, *string.printable[:94]]
            if pieces
            else _alphabet()
        )
        self._core = [*first, *letters]
        self._special = list(dict.fromkeys([*first, *special]))
        self._plain = list(plain)
        self._pieces = pieces
        self._bos, self._eos = bos, eos
        added = [token for token in [*special, *plain] if token not in self._core]
        self._ids = {token: index for index, token in enumerate([*self._core, *added])}

    def __getitem__(self, token: str) -> int:
        return self._ids[token]

    def __len__(self) -> int:
        return len(self._ids)

    def padded(self, multiple: int = 64) -> int:
        """Rows of the published embedding tables: more than the tokenizer names."""
        return -(-(len(self) + 1) // multiple) * multiple

    def write(self, folder: Path, config: Mapping[str, Any]) -> None:
        """tokenizer.json, and tokenizer_config.json with `config` and every added token by its
        id."""
        self._tokenizer().save(str(folder / "tokenizer.json"))
        special = set(self._special)
        decoder = {
            str(index): {"content": token, **AS_PUBLISHED, "special": token in special}
            for token, index in self._ids.items()
            if token in special or token in self._plain
        }
        written = {"added_tokens_decoder": decoder, "clean_up_tokenization_spaces": False, **config}
        (folder / "tokenizer_config.json").write_text(
            json.dumps(written, indent=2, sort_keys=True) + "\n"
        )

    def _tokenizer(self) -> Tokenizer:
        core = {token: index for index, token in enumerate(self._core)}
        if self._pieces:
            made = Tokenizer(
                models.BPE(
                    vocab=core, merges=[], unk_token="<unk>", fuse_unk=True, byte_fallback=True
                )
            )
            made.normalizer = normalizers.Sequence(
                [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
            )
            made.decoder = decoders.Sequence(
                [
                    decoders.Replace(SPACE, " "),
                    decoders.ByteFallback(),
                    decoders.Fuse(),
                    decoders.Strip(" ", 1, 0),
                ]
            )
        else:
            made = Tokenizer(models.BPE(vocab=core, merges=[]))
            made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
            made.decoder = decoders.ByteLevel()
        made.add_special_tokens(
            [AddedToken(token, normalized=False, special=True) for token in self._special]
        )
        made.add_tokens([AddedToken(token, normalized=False) for token in self._plain])
        if self._bos is not None:
            made.post_processor = processors.TemplateProcessing(
                single=f"{self._bos} $A",
                pair=f"{self._bos} $A {self._bos}:1 $B:1",
                special_tokens=[(self._bos, self[self._bos])],
            )
        if self._eos is not None:
            made.post_processor = processors.TemplateProcessing(
                single=f"$A {self._eos}",
                pair=f"$A $B:1 {self._eos}:1",
                special_tokens=[(self._eos, self[self._eos])],
            )
        return made


AS_PUBLISHED = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}


def _alphabet() -> list[str]:
    return sorted(pre_tokenizers.ByteLevel.alphabet())
