"""Weights of several folders as those of one: a checkpoint's own, and those of models that it takes
parts from."""

from collections.abc import Mapping

import torch

from .source import WeightSource

_NAMES = {
    "text_config": ("", "language_model."),
    "audio_config": ("model.encoder.", "audio_tower."),
}
"""By part of the configuration: how names begin there, and how they would in the checkpoint itself;
others are of no use."""


class JoinedTensors:
    """The checkpoint's own go before those of the same name."""

    def __init__(self, own: WeightSource, beside: Mapping[str, WeightSource]) -> None:
        """`beside`: by part of the configuration."""
        self.checkpoint = own.checkpoint
        self._where: dict[str, tuple[WeightSource, str]] = {}
        """Which source has it, under which name."""
        for part, source in beside.items():
            theirs, ours = _NAMES[part]
            for name in source.names():
                if name.startswith(theirs):
                    self._where[ours + name.removeprefix(theirs)] = source, name
        self._where |= {name: (own, name) for name in own.names()}

    def names(self) -> list[str]:
        return list(self._where)

    def shape(self, name: str) -> list[int]:
        source, stored = self._where[name]
        return source.shape(stored)

    def read(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        source, stored = self._where[name]
        return source.read(stored, dtype)
