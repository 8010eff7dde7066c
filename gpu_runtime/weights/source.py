"""What every form of a checkpoint's weights can be asked."""

from typing import Protocol

import torch


class WeightSource(Protocol):
    """Named tensors of plain numbers, each read when it is asked for."""

    checkpoint: str
    """For messages."""

    def names(self) -> list[str]: ...

    def shape(self, name: str) -> list[int]:
        """Raises EngineError for what is stored in parts that do not fit together."""
        ...

    def read(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """`dtype`: of the numbers, where they are made here; what is stored as numbers keeps its
        own. Raises EngineError."""
        ...
