"""The language model of a checkpoint: embedding, decoder over the paged cache, head. Only its weights are read here."""

from typing import Any, Protocol

import torch
from torch.nn import functional as F

from ..protocol.facts import ModelFacts
from .attention import paged
from .family import build_on_meta, load_family
from .fused import Linear, can_fuse, fuse
from .weights import WeightFiles, load_part, read_config


class Decoder(Protocol):
    def __call__(self, embeds: torch.Tensor, positions: torch.Tensor, attention: paged.PagedAttention) -> torch.Tensor:
        """`embeds` [tokens, hidden], `positions` int64 [tokens] or [3, tokens]; normed hidden states [tokens, hidden]."""


class TransformersDecoder:
    """Any text model of transformers, through our attention."""

    def __init__(self, model: Any) -> None:
        paged.register()
        model.set_attn_implementation(paged.NAME)
        self._model = model
        self._planes = hasattr(model.rotary_emb, "mrope_section")

    def __call__(self, embeds: torch.Tensor, positions: torch.Tensor, attention: paged.PagedAttention) -> torch.Tensor:
        one = positions if positions.ndim == 1 else positions[0]
        out = self._model(
            inputs_embeds=embeds[None],
            position_ids=positions.expand(3, -1)[:, None] if self._planes else one[None],
            attention_mask=None,
            use_cache=False,
            paged=attention,
        )
        hidden: torch.Tensor = out.last_hidden_state[0]
        return hidden


class LanguageModel:
    """Embedding table, decoder and head on one device."""

    def __init__(self, embedding: torch.Tensor, decoder: Decoder, head: Linear) -> None:
        self._embedding = embedding
        self.decoder = decoder
        self._head = head

    @property
    def vocab(self) -> int:
        return self._embedding.shape[0]

    @property
    def hidden(self) -> int:
        return self._embedding.shape[1]

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        return F.embedding(tokens, self._embedding)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """[rows, hidden] to float32 [rows, vocab]."""
        return self._head(hidden).float()


def load_language_model(model: ModelFacts, dtype: torch.dtype, device: torch.device, fused: bool = True) -> LanguageModel:
    """Read the language model. `fused`: take the fused decoder where the architecture is known to it.

    Raises EngineError where the checkpoint does not hold the weights.
    """
    family = load_family(model.model_type)
    checkpoint = WeightFiles(model.path, family.RENAMES)
    text: Any = build_on_meta(family, read_config(model.path), ("language_model",)).language_model
    load_part(text, "model.language_model.", checkpoint, dtype, device)
    embedding = text.embed_tokens.weight.detach()
    tied = "lm_head.weight" not in checkpoint and bool(text.config.tie_word_embeddings)
    head = embedding if tied else checkpoint.read("lm_head.weight", embedding.shape, dtype, device)
    decoder: Decoder = fuse(text) if fused and can_fuse(text) else TransformersDecoder(text)
    return LanguageModel(embedding, decoder, Linear(head, None, pack=not tied))
