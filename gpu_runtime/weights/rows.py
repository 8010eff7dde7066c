"""Rows of one stored matrix, read from its file whenever they are wanted: a table that is looked up
needs no memory."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from ...protocol.errors import EngineError


class StoredRows:
    """The file stays open: another that is put in its place changes nothing; once it is written
    over, nothing is read."""

    def __init__(self, path: Path, offset: int, shape: Sequence[int], dtype: torch.dtype) -> None:
        """A matrix of `shape` that begins at the byte `offset`. Raises OSError where the file
        cannot be opened."""
        self.shape, self._dtype = tuple(shape), dtype
        self._name, self._offset = path.name, offset
        self._stride = self.shape[1] * dtype.itemsize
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._written = self._state()

    def read(self, rows: Sequence[int]) -> torch.Tensor:
        """[len(rows), columns], as they are stored. Raises EngineError where the file is another
        one by now."""
        found = torch.empty(len(rows), self.shape[1], dtype=self._dtype)
        places = found.view(torch.uint8).numpy()
        stride, offset, fd = self._stride, self._offset, self._fd
        pairs = zip(places, rows, strict=True)
        got = sum(os.preadv(fd, [place], offset + row * stride) for place, row in pairs)
        if got != len(rows) * stride or self._state() != self._written:
            raise EngineError(
                f"{self._name} has been written over while the model is served: start the engine "
                f"again."
            )
        return found

    def _state(self) -> tuple[int, int]:
        state = os.fstat(self._fd)
        return state.st_size, state.st_mtime_ns

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)
