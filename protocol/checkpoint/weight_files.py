"""The weight files of a checkpoint as far as their headers tell: which they are, that they are
whole, and their fingerprint."""

import struct
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from ..errors import EngineError
from .gguf_file import WEIGHTS, read_gguf
from .hub_id import is_snapshot
from .json_files import indexed_files

MAX_HEADER = 100 << 20
"""Bytes of a safetensors file's header, as in the safetensors library."""
SAMPLED_PAGES, PAGE_BYTES = 64, 4096
"""What a fingerprint reads of a weight file: enough to tell fine-tuned weights apart, and read in
milliseconds."""
SMALL_FILES = ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer.json")
_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_LFS = b"version https://git-lfs"


class _Entry(msgspec.Struct):
    """What a header says of one tensor, as far as it is of use here."""

    dtype: str
    data_offsets: tuple[int, int]


def weight_files(folder: Path) -> list[Path]:
    """Raises EngineError where there are none, where an index names one that is missing, or where
    the folder cannot be read."""
    try:
        weights = sorted(folder.glob("*.safetensors")) or [
            path for path in (folder / WEIGHTS,) if path.is_file()
        ]
        missing = sorted(_indexed(folder) - {path.name for path in weights})
    except OSError as error:
        raise EngineError(
            f"The model folder {str(folder)!r} cannot be read: {error.strerror}."
        ) from None
    if missing:
        raise EngineError(
            f"{str(folder)!r} lacks {missing[0]}, which its index names ({len(missing)} missing "
            "in all): complete the download or the copy."
        )
    if not weights:
        what = "pickled ones are never loaded"
        if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
            what = "its own are pickled, and may run code when they are loaded: convert them"
        raise EngineError(f"{str(folder)!r} holds no *.safetensors weights ({what}).")
    return weights


def stored_dtype(folder: Path) -> str:
    """The name of the floating type that most of the weights' bytes have; float32 where there is
    none that is known."""
    sizes = dict.fromkeys(_DTYPES, 0)
    for path in folder.glob("*.safetensors"):
        for entry in _entries(path, _header(path)).values():
            if entry.dtype in sizes:
                sizes[entry.dtype] += entry.data_offsets[1] - entry.data_offsets[0]
    return _DTYPES[max(sizes, key=lambda dtype: sizes[dtype])]


def place_of(path: Path, name: str) -> tuple[str | None, int]:
    """The floating type of one tensor of a safetensors file, None where it is another, and the byte
    at which it begins.

    Raises EngineError for a file that cannot be read.
    """
    header = _header(path)
    entry = _entries(path, header)[name]
    return _DTYPES.get(entry.dtype), 8 + len(header) + entry.data_offsets[0]


def fingerprint(folder: Path) -> str:
    """sha256 over the small files whole, and of each weight file its size, header and
    `SAMPLED_PAGES` evenly spaced pages.

    Of a snapshot in a hub's cache also over its commit, which stands for every byte. Raises
    EngineError for a file that cannot be read, or is not whole.
    """
    digest = sha256((folder.absolute().name if is_snapshot(folder) else "").encode())
    for name in SMALL_FILES:
        path = folder / name
        digest.update(name.encode() + (_read(path) if path.exists() else b"-"))
    for path in weight_files(folder):
        _take_in(digest, path)
    return digest.hexdigest()


def _take_in(digest: Any, path: Path) -> None:
    try:
        size = path.stat().st_size
        header = _gguf_header(path) if path.name == WEIGHTS else _whole_header(path, size)
        digest.update(
            path.name.encode() + struct.pack("<Q", len(header)) + header + str(size).encode()
        )
        with path.open("rb") as file:
            for page in range(SAMPLED_PAGES):
                file.seek(size * page // SAMPLED_PAGES)
                digest.update(file.read(PAGE_BYTES))
    except OSError as error:
        raise _unreadable(path, error) from None


def _whole_header(path: Path, size: int) -> bytes:
    """Raises EngineError where the file is not as long as its header promises."""
    header = _header(path)
    ends = (entry.data_offsets[1] for entry in _entries(path, header).values())
    promised = 8 + len(header) + max(ends, default=0)
    if promised != size:
        raise EngineError(
            f"{path.name} in {str(path.parent)!r} is broken: it has {size:,} bytes and its header "
            f"promises {promised:,}; complete the download or the copy."
        )
    return header


def _gguf_header(path: Path) -> bytes:
    length = read_gguf(path).header
    with path.open("rb") as file:
        return file.read(length)


def _header(path: Path) -> bytes:
    """The JSON before the tensors' bytes."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 2 <= length <= min(size - 8, MAX_HEADER):
                raise _broken(path, head)
            return file.read(length)
    except OSError as error:
        raise _unreadable(path, error) from None


def _entries(path: Path, header: bytes) -> dict[str, _Entry]:
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        entries.pop("__metadata__", None)
        return {name: msgspec.json.decode(entry, type=_Entry) for name, entry in entries.items()}
    except msgspec.DecodeError:
        raise _broken(path, b"") from None


def _broken(path: Path, head: bytes) -> EngineError:
    what = "is broken: it is no safetensors file."
    if _LFS.startswith(head) and head:
        what = "is a pointer of Git LFS and not the file itself: fetch it with git lfs pull."
    return EngineError(f"{path.name} in {str(path.parent)!r} {what}")


def _indexed(folder: Path) -> set[str]:
    """The files that an index names, where there is one."""
    index = folder / "model.safetensors.index.json"
    return indexed_files(index, f"in {str(folder)!r}") if index.is_file() else set()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> EngineError:
    return EngineError(f"{path.name} in {str(path.parent)!r} cannot be read: {error.strerror}.")
