"""The language model of a checkpoint: embedding, decoder over the paged cache, head. Only its
weights are read here."""

from collections.abc import Callable

import torch
from torch import nn

from ...protocol.facts import ModelFacts
from ..adapter.attention import Unsupported
from ..adapter.decoder import TransformersDecoder
from ..adapter.dividing import divide_model
from ..adapter.embedding import scale_of
from ..adapter.file_embedding import FileEmbedding
from ..adapter.head import Head
from ..adapter.parts import ModelParts, path_of, take_apart
from ..adapter.self_check import ROUNDED, ask, check, refusal
from ..adapter.step import Decoder
from ..attention.choice import AttentionKernels
from ..inspection.hf import build_on_meta
from ..layers.divided import OutputsGathered
from ..layers.int8 import Int8Weights
from ..layers.linear import worth_packing
from ..ranks.gang import ALONE, Ranks
from ..weights.checkpoint import Checkpoint
from ..weights.filling import Hold, fill
from .fused import can_fuse, fuse

Embed = Callable[[torch.Tensor], torch.Tensor]
"""Token ids [tokens] to [tokens, hidden]."""


class LanguageModel:
    """Embedding, decoder and head on one device. One that makes vectors has no head."""

    def __init__(
        self,
        embedding: Embed,
        rows: int,
        decoder: Decoder,
        head: Head | None,
        model: ModelFacts,
        scale: float = 1.0,
    ) -> None:
        """`rows`: of the table. `scale`: by which the model multiplies what `embedding` gives
        it."""
        self._embedding = embedding
        self._scale = scale
        self._last = rows - 1
        ids = [facts.embed_token_id for facts in model.placeholders.values()]
        self._clamped = max(ids, default=0) > self._last
        """Placeholders beyond the table are looked up as its last row, and then overwritten."""
        self._others = model.looked_up
        self.decoder = decoder
        self._head = head

    def looked_up(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token ids [tokens], each as the model's own forward looks it up."""
        found = tokens.clamp(max=self._last) if self._clamped else tokens
        for token, other in self._others.items():
            found = found.masked_fill(tokens == token, other)
        return found

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token ids [tokens], as they are looked up, to [tokens, hidden]."""
        embeds = self._embedding(tokens)
        return embeds if self._scale == 1.0 else embeds * self._scale

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """[rows, hidden] to float32 [rows, vocab]."""
        assert self._head is not None, "nothing is sampled of a model that makes vectors"
        return self._head(hidden)


def load_language_model(
    model: ModelFacts,
    dtype: torch.dtype,
    device: torch.device,
    fused: bool = True,
    kernels: AttentionKernels | None = None,
    hold: Hold | None = None,
    ranks: Ranks = ALONE,
) -> LanguageModel:
    """Read the language model, or the part of it that this one of `ranks` has.

    `fused`: take the fused decoder where the architecture is known to it. `kernels`: those that its
    attention will run on. `hold`: how the weights of its linear layers are held, where that is not
    as numbers of `dtype`.

    Raises EngineError where the checkpoint does not hold the weights, and for a model that would be
    another one here.
    """
    whole = build_on_meta(model.path, dtype)
    checkpoint = Checkpoint(model.path, whole)
    parts, cuts = divide_model(take_apart(whole), ranks)
    vectors = model.output == "vector"
    place = path_of(whole, parts.head)
    held = {*parts.decoder.modules(), parts.head}
    roots, without = parts.roots(headless=vectors), parts.towers()
    fill(whole, roots, checkpoint, dtype, device, without, held, hold, cuts)
    if not vectors:
        parts = parts._replace(head=whole.get_submodule(place))  # which may have been replaced
    scale = scale_of(parts, device)
    expected = ask(parts, model, device)
    if fused and can_fuse(parts.decoder):
        decoder: Decoder = fuse(parts.decoder, kernels)
    else:
        try:
            decoder = TransformersDecoder(parts.decoder, model)
        except Unsupported as error:
            raise refusal(model, f"{error}, which is not built") from error
    rows = len(next(parts.embedding.parameters()))
    embedding, head = _ends(parts, checkpoint, model, dtype)
    served = LanguageModel(embedding, rows, decoder, head, model, scale)
    check(served, expected, model, dtype, device, kernels, None if hold is None else ROUNDED)
    return served


def _ends(
    parts: ModelParts, checkpoint: Checkpoint, model: ModelFacts, dtype: torch.dtype
) -> tuple[Embed, Head | None]:
    """The embedding and the head. Where they are one table it is in memory once: for the head,
    packed, where the embedding's rows can be read from their file; else as it is, for both. A head
    in eight bits has a table of its own, as has a part of one, and the embedding's rows are left in
    their file wherever that can be."""
    embedding, head = parts.embedding, parts.head
    if model.output == "vector":
        return embedding, None
    is_one = type(head) is nn.Linear and head.weight is embedding.weight
    apart = isinstance(head, Int8Weights) or (model.tied and isinstance(head, OutputsGathered))
    if not is_one and not apart:
        return embedding, Head(parts, pack=True)
    rows = None
    is_table = isinstance(embedding, nn.Embedding) and not model.per_layer_width
    if is_table and worth_packing(embedding.weight):
        rows = checkpoint.rows(f"{path_of(parts.whole, embedding)}.weight")
    made = Head(parts, pack=apart or rows is not None)
    return (embedding if rows is None else FileEmbedding(embedding, rows, dtype)), made
