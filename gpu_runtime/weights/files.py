"""The tensors in a checkpoint's safetensors files, by their names on disk. Reads by mmap, one at a
time."""

from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open

from ...protocol.checkpoint.json_files import indexed_files
from ...protocol.checkpoint.weight_files import place_of
from ...protocol.errors import EngineError
from .rows import StoredRows

INDEX = "model.safetensors.index.json"
_PACKED = ("F8_E4M3", "F8_E5M2", "I8")
"""Types of the safetensors format."""


class StoredTensors:
    """Every tensor of the folder. Raises EngineError for a file that cannot be read."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self.checkpoint = self._folder.name
        """For messages."""
        self._files: dict[str, Any] = {}
        self._where: dict[str, str] = {}
        """Name on disk -> file."""
        for path in _shards(self._folder):
            try:
                self._files[path.name] = file = safe_open(str(path), "pt")
            except (SafetensorError, OSError) as error:
                raise EngineError(
                    f"{path.name} of the model {self.checkpoint!r} is broken: it is no readable "
                    f"safetensors file."
                ) from error
            for name in cast(Any, file).keys():  # noqa: SIM118 - not a dict
                self._where[name] = path.name

    def names(self) -> list[str]:
        return list(self._where)

    def shape(self, name: str) -> list[int]:
        shape: list[int] = self._files[self._where[name]].get_slice(name).get_shape()
        return shape

    def is_packed(self, name: str) -> bool:
        """Its numbers mean something only with a scale that is stored beside them."""
        return self._files[self._where[name]].get_slice(name).get_dtype() in _PACKED

    def read(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """The tensor as it is on disk, whatever `dtype` is, perhaps a view of the mapping: the
        caller copies.

        Raises EngineError.
        """
        try:
            tensor: torch.Tensor = self._files[self._where[name]].get_tensor(name)
        except SafetensorError as error:
            raise self._unreadable(name) from error
        return tensor

    def rows(self, name: str) -> StoredRows | None:
        """A matrix of plain numbers, to be read row by row; None: it is none. Raises
        EngineError."""
        path, shape = self._folder / self._where[name], self.shape(name)
        dtype, offset = place_of(path, name)
        if dtype is None or len(shape) != 2:
            return None
        try:
            return StoredRows(path, offset, shape, getattr(torch, dtype))
        except OSError as error:
            raise self._unreadable(name) from error

    def _unreadable(self, name: str) -> EngineError:
        return EngineError(
            f"The weight {name} of the checkpoint {self.checkpoint!r} cannot be read."
        )


def _shards(folder: Path) -> list[Path]:
    """The files that the index names, where there is one: some folders hold the same weights a
    second time in other files."""
    index = folder / INDEX
    if index.is_file():
        return [
            folder / name for name in sorted(indexed_files(index, f"of the model {folder.name!r}"))
        ]
    single = folder / "model.safetensors"
    return [single] if single.is_file() else sorted(folder.glob("*.safetensors"))
