"""The language model of a checkpoint: embedding, decoder over the paged cache, head. Only its weights are read here."""

from typing import Any

import torch

from ..protocol.facts import ModelFacts
from .adapter.attention import Unsupported
from .adapter.decoder import TransformersDecoder
from .adapter.embedding import scale_of
from .adapter.head import Head
from .adapter.parts import ModelParts, take_apart
from .adapter.self_check import ask, check, refusal
from .adapter.step import Decoder
from .fused import can_fuse, fuse
from .hf import build_on_meta
from .weights.checkpoint import Checkpoint
from .weights.filling import fill


class LanguageModel:
    """Embedding, decoder and head on one device. One that makes vectors has no head."""

    def __init__(self, embedding: Any, decoder: Decoder, head: Head | None, model: ModelFacts, scale: float = 1.0) -> None:
        """`scale`: by which the model multiplies what `embedding` gives it."""
        self._embedding = embedding
        self._scale = scale
        self._last = next(embedding.parameters()).shape[0] - 1
        self._clamped = any(facts.embed_token_id > self._last for facts in model.placeholders.values())
        """Placeholders beyond the table are looked up as its last row, and then overwritten."""
        self.decoder = decoder
        self._head = head

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token ids [tokens] to [tokens, hidden]."""
        embeds: torch.Tensor = self._embedding(tokens.clamp(max=self._last) if self._clamped else tokens)
        return embeds if self._scale == 1.0 else embeds * self._scale

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """[rows, hidden] to float32 [rows, vocab]."""
        assert self._head is not None, "nothing is sampled of a model that makes vectors"
        return self._head(hidden)


def load_language_model(model: ModelFacts, dtype: torch.dtype, device: torch.device, fused: bool = True) -> LanguageModel:
    """Read the language model. `fused`: take the fused decoder where the architecture is known to it.

    Raises EngineError where the checkpoint does not hold the weights, and for a model that would be another one here.
    """
    whole = build_on_meta(model.path, dtype)
    checkpoint = Checkpoint(model.path, whole)
    parts = take_apart(whole)
    vectors = model.output == "vector"
    fill(whole, parts.roots(headless=vectors), checkpoint, dtype, device, without=parts.towers())
    scale = scale_of(parts, device)
    expected = ask(parts, model, device)
    if fused and can_fuse(parts.decoder):
        decoder: Decoder = fuse(parts.decoder)
    else:
        try:
            decoder = TransformersDecoder(parts.decoder, model)
        except Unsupported as error:
            raise refusal(model, f"{error}, which is not built") from error
    served = LanguageModel(parts.embedding, decoder, None if vectors else Head(parts, _is_tied(parts)), model, scale)
    check(served, expected, model, dtype, device)
    return served


def _is_tied(parts: ModelParts) -> bool:
    """The head is the embedding table: it is in memory once."""
    head: Any = parts.head
    return head.weight is parts.embedding.weight
