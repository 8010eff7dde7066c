"""What a GGUF file says of itself: its metadata, and where its tensors lie. Every size is checked
against the file."""

import mmap
import struct
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import EngineError

WEIGHTS = "weights.gguf"
"""The name of such a file in a folder that was made for it."""
MAGIC, VERSIONS = b"GGUF", (2, 3)
MOST_TENSORS, MOST_FIELDS, MOST_DIMENSIONS, MOST_NUMBERS = 1 << 16, 1 << 12, 4, 1 << 16
"""Counts beyond which a file is not read; the last of a list's numbers, beyond which only its
length is kept."""
MOST_HEADER = 1 << 28
"""Bytes before the tensors', which are looked at one value after the other; of published files they
are 20 MB at most."""
F32, F16, BF16 = 0, 1, 30
_SCALARS = {kind: f"<{form}" for kind, form in enumerate("BbHhIif?..Qqd") if form != "."}
"""By the number of a value's type, how `struct` names it."""
_STRING, _LIST = 8, 9
BLOCKS = {
    F32: ("F32", 1, 4), F16: ("F16", 1, 2), BF16: ("BF16", 1, 2),
    2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 29: ("IQ1_M", 256, 56),
    34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip
"""By the number of a tensor's type: its name, numbers and bytes of a block. Those that the gguf
library unpacks."""


class GgufTensor(NamedTuple):
    """One tensor of a file."""

    shape: tuple[int, ...]
    """Rows first, as torch has it."""
    kind: int
    """A key of BLOCKS."""
    start: int
    """Of its bytes in the file."""
    size: int
    """Bytes."""

    @property
    def row_bytes(self) -> int:
        _, numbers, size = BLOCKS[self.kind]
        return self.shape[-1] // numbers * size


class GgufFile(NamedTuple):
    """What stands before the tensors' bytes."""

    architecture: str
    fields: dict[str, Any]
    """Metadata by key; of lists of texts, and of very long ones, only the length."""
    tensors: dict[str, GgufTensor]
    header: int
    """Bytes before the tensors'."""

    def own(self, key: str, default: Any = None) -> Any:
        """A field of the architecture's own."""
        return self.fields.get(f"{self.architecture}.{key}", default)


def read_gguf(path: Path) -> GgufFile:
    """Raises EngineError for a file that is none, is cut, or holds what is not read."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data, path).file()
    except (OSError, ValueError) as error:  # mmap takes no empty file
        raise EngineError(
            f"{path.name} cannot be read as a GGUF file: "
            f"{getattr(error, 'strerror', None) or 'it is empty'}."
        ) from None


class _Reader:
    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._data, self._path = data, path
        self._at = 0

    def file(self) -> GgufFile:
        magic, version, tensors, fields = self._unpack("<4sIQQ")
        name = self._path.name
        if magic != MAGIC:
            raise self._broken("it is none")
        if version not in VERSIONS:
            text = f"{name} is a GGUF file of version {version}; those of version 2 and 3 are read."
            raise EngineError(text)
        if tensors > MOST_TENSORS or fields > MOST_FIELDS:
            raise self._broken("its counts are beyond all measure")
        known = dict(self._field() for _ in range(fields))
        architecture = known.get("general.architecture")
        if not isinstance(architecture, str):
            raise self._broken("it names no architecture")
        parts = known.get("split.count", 0)
        if not isinstance(parts, int):
            raise self._broken("its split.count is none")
        if parts > 1:
            raise EngineError(
                f"{self._path.name} is one of {parts} parts of a GGUF file, which are not read: "
                "join them with llama-gguf-split --merge."
            )
        stated = [self._tensor() for _ in range(tensors)]
        alignment = known.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise self._broken("its alignment is none")
        start = -(-self._at // alignment) * alignment
        placed = {
            one: self._placed(one, shape, kind, start + at) for one, shape, kind, at in stated
        }
        return GgufFile(architecture, known, placed, start)

    def _placed(self, name: str, shape: tuple[int, ...], kind: int, start: int) -> GgufTensor:
        if kind not in BLOCKS:
            raise EngineError(
                f"The weight {name} of {self._path.name} is of GGUF's type {kind}, which is not "
                f"read: choose a file in "
                "one of the forms Q2_K to Q8_0, IQ1 to IQ4, F16, BF16 or F32."
            )
        _, numbers, size = BLOCKS[kind]
        if not shape or min(shape) < 1 or shape[-1] % numbers:
            raise self._broken(f"{name} has the shape {list(shape)}")
        tensor = GgufTensor(shape, kind, start, prod(shape) // numbers * size)
        if (end := start + tensor.size) > len(self._data):
            raise self._broken(f"it is cut: {len(self._data):,} bytes, and {name} ends at {end:,}")
        return tensor

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._text()
        (dimensions,) = self._unpack("<I")
        if dimensions > MOST_DIMENSIONS:
            raise self._broken(f"{name} has {dimensions} dimensions")
        shape = self._unpack(f"<{dimensions}Q")
        kind, offset = self._unpack("<IQ")
        return name, tuple(reversed(shape)), kind, offset

    def _field(self) -> tuple[str, Any]:
        key = self._text()
        (kind,) = self._unpack("<I")
        return key, self._value(kind)

    def _value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self._unpack(_SCALARS[kind])[0]
        if kind == _STRING:
            return self._text()
        if kind != _LIST:
            raise self._broken(f"it holds a value of type {kind}")
        inner, count = self._unpack("<IQ")
        if inner in _SCALARS:
            width = struct.calcsize(_SCALARS[inner])
            if count <= MOST_NUMBERS:
                return list(self._unpack(f"<{count}{_SCALARS[inner][1]}"))
            self._skip(count * width)
            return count
        if inner != _STRING:
            raise self._broken(f"it holds a list of type {inner}")
        for _ in range(count):  # a text has eight bytes at least, so the file bounds them
            self._skip(*self._unpack("<Q"))
        return count

    def _text(self) -> str:
        (length,) = self._unpack("<Q")
        begin = self._at
        self._skip(length)
        return self._data[begin : self._at].decode("utf-8", "replace")

    def _unpack(self, form: str) -> tuple[Any, ...]:
        begin = self._at
        self._skip(struct.calcsize(form))
        return struct.unpack_from(form, self._data, begin)

    def _skip(self, size: int) -> None:
        if size > len(self._data) - self._at:
            raise self._broken("its header is cut")
        self._at += size
        if self._at > MOST_HEADER:
            raise self._broken("its header is beyond all measure")

    def _broken(self, why: str) -> EngineError:
        return EngineError(
            f"{self._path.name} in {str(self._path.parent)!r} is no whole GGUF file: {why}."
        )
