"""A model's vocabulary in the grammar engine's form, for all who build grammars."""

from typing import TYPE_CHECKING

from ...protocol.checkpoint.tokenizer_file import tokenizer_text
from ...protocol.facts import ModelFacts

if TYPE_CHECKING:
    from llguidance import LLTokenizer


def vocabulary_of(info: ModelFacts) -> "LLTokenizer":
    """Raises Exception of no closer kind, as the library does, where it does not know this kind of
    tokenizer."""
    from llguidance import LLTokenizer

    text = tokenizer_text(info.path, info.tokenizer_parts)
    return LLTokenizer(text, n_vocab=info.vocab, eos_token=list(info.eos_token_ids) or None)
