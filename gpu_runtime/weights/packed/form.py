"""What a form of storing weights in few bits is, and the tensors of a folder in it as plain
numbers.

This is the stage between a checkpoint's files and the filling of modules: whoever keeps weights in
few bits takes the parts here and not the numbers.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Protocol

import torch

from ....protocol.errors import EngineError
from ..files import StoredTensors

WEIGHT = "weight"
"""The part that has the numbers, or all that there is where a tensor is stored as it is."""


class BrokenParts(Exception):
    """Parts of a weight that do not fit together; its text says how."""


def split_name(name: str, parts: Collection[str]) -> tuple[str, str]:
    """(the weight's name, which part of it) where the last word of `name` says which of `parts`."""
    module, _, part = name.rpartition(".")
    return (f"{module}.{WEIGHT}", part) if part in parts else (name, WEIGHT)


def check_parts(
    parts: Mapping[str, list[int]], wanted: Mapping[str, list[int]], optional: str
) -> None:
    """Raises BrokenParts for another shape than `wanted`; the `optional` part may be absent."""
    for part, shape in wanted.items():
        if parts.get(part, shape if part == optional else None) != shape:
            raise BrokenParts(f"its {part} are {parts.get(part)} and should be {shape}")


class Form(Protocol):
    """One way to store weights in few bits. What it raises of its parts is `BrokenParts`."""

    def part_of(self, name: str) -> tuple[str, str] | None:
        """(the weight's name, which part of it) of a stored tensor; None: nothing that weights are
        made of."""
        ...

    def shape(self, weight: str, parts: Mapping[str, list[int]]) -> list[int]:
        """Of the weight of this name, by the shapes of its parts."""
        ...

    def unpack(
        self, weight: str, parts: Mapping[str, torch.Tensor], dtype: torch.dtype
    ) -> torch.Tensor:
        """The weight of this name as numbers of `dtype`."""
        ...


class UnpackedTensors:
    """The tensors of a folder by their names on disk, plain numbers all. Reads and unpacks one at a
    time."""

    def __init__(self, stored: StoredTensors, form: Form) -> None:
        self.checkpoint = stored.checkpoint
        """For messages."""
        self._stored, self._form = stored, form
        self._parts: dict[str, dict[str, str]] = defaultdict(dict)
        """Weight -> part -> name on disk."""
        for name in stored.names():
            found = form.part_of(name)
            if found is not None:
                self._parts[found[0]][found[1]] = name
        self._refuse_bare()

    def names(self) -> list[str]:
        return list(self._parts)

    def shape(self, name: str) -> list[int]:
        """Raises EngineError for parts that do not fit together."""
        parts = self._parts[name]
        shapes = {part: self._stored.shape(stored) for part, stored in parts.items()}
        if self._is_plain(name):
            return shapes[WEIGHT]
        try:
            return self._form.shape(name, shapes)
        except (BrokenParts, KeyError, IndexError, ValueError) as error:
            raise self._broken(name, error) from error

    def read(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """Raises EngineError for parts that do not fit together."""
        parts = self._parts[name]
        if self._is_plain(name):
            return self._stored.read(parts[WEIGHT], dtype)
        wanted = self.shape(name)
        try:
            read = {part: self._stored.read(stored, dtype) for part, stored in parts.items()}
            weight = self._form.unpack(name, read, dtype)
            if list(weight.shape) != wanted:
                raise BrokenParts(f"it is {list(weight.shape)} and should be {wanted}")
        except (BrokenParts, LookupError, ValueError, RuntimeError, AssertionError) as error:
            raise self._broken(name, error) from error
        return weight

    def _is_plain(self, name: str) -> bool:
        return self._parts[name].keys() == {WEIGHT}

    def _refuse_bare(self) -> None:
        """Numbers of eight bits mean nothing without their scale. Looked at before any are read."""
        for name in self._parts:
            if self._is_plain(name) and self._stored.is_packed(self._parts[name][WEIGHT]):
                raise EngineError(
                    f"The weight {name} of the checkpoint {self.checkpoint!r} is quantised and "
                    f"has no scale beside it."
                )

    def _broken(self, name: str, error: Exception) -> EngineError:
        said = f" ({error})" if isinstance(error, BrokenParts) else ""
        return EngineError(
            f"The parts of the quantised weight {name} of the checkpoint {self.checkpoint!r} do "
            f"not fit together{said}: is it whole?"
        )
