"""Logits by a model's own forward: what it does to them after the last projection (a cap, a scale)
is done here too."""

from typing import Any

import torch
from torch import nn

from ..layers.replacing import put
from ..layers.serving import serving
from .parts import ModelParts, path_of


class Head:
    """Takes the whole model over: its body is replaced, and gone from memory where nobody else
    keeps it."""

    def __init__(self, parts: ModelParts, pack: bool) -> None:
        """`pack`: nobody else needs the projection's weight as it is."""
        self._whole: Any = parts.whole
        self._body = _GivenHidden(self._whole.get_submodule(parts.body))
        put(self._whole, parts.body, self._body)
        projection: Any = serving(parts.head, pack)
        if projection is None:
            projection = parts.head
        else:
            put(self._whole, path_of(self._whole, parts.head), projection)
        like = next(parts.embedding.parameters())
        self._plain: Any = projection if self._is_plain(projection, like) else None

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """[rows, hidden] to float32 [rows, vocab]."""
        if self._plain is not None:
            logits: torch.Tensor = self._plain(hidden)
            return logits.float()
        return self._by_forward(hidden)

    def _by_forward(self, hidden: torch.Tensor) -> torch.Tensor:
        self._body.hidden = hidden[None]
        out = self._whole(inputs_embeds=hidden[None], attention_mask=None, use_cache=False)
        self._body.hidden = None
        logits: torch.Tensor = out.logits[0]
        return logits.float()

    @torch.inference_mode()
    def _is_plain(self, projection: Any, like: torch.Tensor) -> bool:
        """The forward does nothing but project: it need not be called at every step. Wide numbers,
        so that a cap shows."""
        count = 2 * projection.in_features
        rows = torch.linspace(-9, 9, count, device=like.device, dtype=like.dtype).view(2, -1)
        return torch.equal(projection(rows).float(), self._by_forward(rows))


class _GivenHidden(nn.Module):
    """In the place of a body: answers with the hidden states that it was given, and has the body's
    numbers."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        for name, value in vars(body).items():  # Falcon H1's scales its logits by one
            if isinstance(value, int | float) and name not in vars(self):
                setattr(self, name, value)
        self.hidden: torch.Tensor | None = None

    def forward(self, *_: Any, **__: Any) -> "_Output":
        assert self.hidden is not None
        return _Output(self.hidden)


class _Output:
    """What any body answers, as far as a head looks at it: hidden states, and None for all else."""

    def __init__(self, hidden: torch.Tensor) -> None:
        self.last_hidden_state = hidden

    def __getitem__(self, index: Any) -> Any:
        return self.last_hidden_state if index == 0 else None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None
