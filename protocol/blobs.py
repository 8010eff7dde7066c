"""Big data in shared memory: one writer per arena, any number of readers, references instead of bytes in messages.

An arena is a file of this run in /dev/shm (in the run directory where /dev/shm is full or absent), reserved with
posix_fallocate, so that a full file system is an OSError at allocation and never a SIGBUS later. The writer keeps the
books: a block is free again when its writer says so, which it does when the last reader has released it by message.
Readers check offset, shape and dtype against the file before they map.
"""

import math
import os
from bisect import insort
from pathlib import Path

import msgspec

from .mapping import map_file
from .shortage import SpaceError

Bytes = memoryview | bytes | bytearray

ITEM_SIZE: dict[str, int] = {
    "uint8": 1, "int32": 4, "int64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "bool": 1, "float64": 8,
}  # fmt: skip
ALIGN = 64
ARENA_BYTES = 16 << 20
"""Smallest arena segment; a larger block gets a segment of its own size."""
PREFIX = "thespis-"


def block_bytes(nbytes: int) -> int:
    """What a block of `nbytes` takes up in an arena."""
    return max(ALIGN, -(-nbytes // ALIGN) * ALIGN)


def arena_limit(nbytes: int) -> int:
    """The limit of an arena that is to hold `nbytes` in its blocks: fragments and half-filled segments take some space too."""
    return nbytes + nbytes // 4 + 4 * ARENA_BYTES


class BlobRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Names `shape` elements of `dtype` at `offset` bytes into the shared segment `segment`."""

    segment: str
    """Absolute path of the file; it always begins with the run's own prefix."""
    offset: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return ITEM_SIZE[self.dtype] * math.prod(self.shape)


class BlobError(Exception):
    """A reference that names no readable bytes: its writer died, it was never valid, or it cannot be mapped (`shortage`)."""


class _Segment:
    """One file: its map and its free blocks, sorted by offset."""

    def __init__(self, path: str, size: int) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
            self.map = map_file(fd, size, writable=True)
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(fd)
        self.path = path
        self.size = size
        self.free: list[tuple[int, int]] = [(0, size)]

    def take(self, nbytes: int) -> int | None:
        for index, (offset, length) in enumerate(self.free):
            if length >= nbytes:
                if length == nbytes:
                    del self.free[index]
                else:
                    self.free[index] = (offset + nbytes, length - nbytes)
                return offset
        return None

    def give(self, offset: int, nbytes: int) -> None:
        insort(self.free, (offset, nbytes))
        merged: list[tuple[int, int]] = []
        for start, length in self.free:
            if merged and merged[-1][0] + merged[-1][1] == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            else:
                merged.append((start, length))
        self.free = merged

    def close(self) -> None:
        """The pages go with the last view of them."""
        Path(self.path).unlink(missing_ok=True)  # the end of the run may have swept it before its writer did


class Arena:
    """One writer's long-lived shared memory. Not thread-safe: one owner.

    `limit` bounds all its segments together, in bytes. Raises SpaceError beyond it and where shared memory is full.
    """

    def __init__(self, run_dir: Path, writer: str, limit: int) -> None:
        self._run_dir = run_dir
        self._writer = writer
        self._limit = limit
        self._count = 0
        self._segments: dict[str, _Segment] = {}

    @property
    def held(self) -> int:
        """Bytes reserved from the system."""
        return sum(segment.size for segment in self._segments.values())

    @property
    def used(self) -> int:
        """Bytes in blocks that are not yet free."""
        return self.held - sum(length for s in self._segments.values() for _, length in s.free)

    def allocate(self, dtype: str, shape: tuple[int, ...]) -> tuple[BlobRef, memoryview]:
        """A block and a writable view of exactly its bytes."""
        nbytes = ITEM_SIZE[dtype] * math.prod(shape)
        room = block_bytes(nbytes)
        for segment in self._segments.values():
            offset = segment.take(room)
            if offset is not None:
                break
        else:
            segment = self._grow(room)
            taken = segment.take(room)
            assert taken is not None
            offset = taken
        view = segment.map[offset : offset + nbytes]
        return BlobRef(segment.path, offset, dtype, shape), view

    def put(self, data: Bytes, dtype: str = "uint8", shape: tuple[int, ...] | None = None) -> BlobRef:
        """Copy `data` into a block."""
        flat = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
        ref, view = self.allocate(dtype, shape if shape is not None else (flat.nbytes,))
        with view:
            view[:] = flat
        return ref

    def free(self, ref: BlobRef) -> None:
        segment = self._segments[ref.segment]
        segment.give(ref.offset, block_bytes(ref.nbytes))
        if segment.size > ARENA_BYTES and segment.free == [(0, segment.size)]:
            del self._segments[ref.segment]  # an outsized segment goes back; the regular ones stay warm
            segment.close()

    def close(self) -> None:
        """Unlink every segment; readers that have it mapped keep their view."""
        for segment in self._segments.values():
            segment.close()
        self._segments.clear()

    def _grow(self, room: int) -> _Segment:
        size = max(ARENA_BYTES, room)
        if self.held + size > self._limit:
            raise SpaceError(f"{self._writer}: shared memory limit of {self._limit} bytes reached")
        self._count += 1
        name = f"{segment_prefix(self._run_dir)}{self._writer}-{self._count}"
        reason: OSError | None = None
        for folder in (Path("/dev/shm"), self._run_dir):
            try:
                segment = _Segment(str(folder / name), size)
            except OSError as error:
                reason = error
                continue
            self._segments[segment.path] = segment
            return segment
        raise SpaceError(f"{self._writer}: no room for {size} bytes of shared memory") from reason


class BlobReader:
    """Maps other processes' segments for reading. It keeps the maps of regular ones, which stay with their writer; a larger one
    goes back to the system with its block, which it can only do when nobody keeps a map of it."""

    def __init__(self, run_dir: Path) -> None:
        self._prefix = segment_prefix(run_dir)
        self._folders = {"/dev/shm", str(run_dir)}
        self._maps: dict[str, memoryview] = {}

    def view(self, ref: BlobRef) -> memoryview:
        """Read-only bytes of `ref`, zero-copy. Raises BlobError where the segment is gone or too short, or not ours."""
        folder, _, name = ref.segment.rpartition("/")
        if folder not in self._folders or not name.startswith(self._prefix) or ref.dtype not in ITEM_SIZE:
            raise BlobError("not a segment of this run")
        mapped = self._maps.get(ref.segment)
        if mapped is None:
            mapped = _map(ref.segment)
            if len(mapped) <= ARENA_BYTES:
                self._maps[ref.segment] = mapped
        if ref.offset < 0 or min(ref.shape, default=0) < 0 or ref.offset + ref.nbytes > len(mapped):
            raise BlobError("the reference reaches past its segment")
        return mapped[ref.offset : ref.offset + ref.nbytes]

    def written_by(self, writer: str, segment: str) -> bool:
        """Whether `segment` is one of this writer's (`role.epoch`)."""
        return segment.rpartition("/")[2].startswith(f"{self._prefix}{writer}-")

    def forget(self, writer: str) -> None:
        """Drop the maps of a writer that is gone (`role.epoch`); views in use keep theirs."""
        for path in [p for p in self._maps if self.written_by(writer, p)]:
            del self._maps[path]

    def close(self) -> None:
        self._maps.clear()


def _map(segment: str) -> memoryview:
    try:
        fd = os.open(segment, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        raise BlobError("the segment is gone") from error
    except OSError as error:
        raise BlobError("the segment cannot be opened") from error
    try:
        return map_file(fd, os.fstat(fd).st_size)
    except OSError as error:  # no address space, or an empty file
        raise BlobError("the segment cannot be mapped") from error
    finally:
        os.close(fd)


def read_once(run_dir: Path, ref: BlobRef) -> bytes:
    """A copy, with no map kept. Raises BlobError."""
    reader = BlobReader(run_dir)
    try:
        with reader.view(ref) as view:
            return bytes(view)
    finally:
        reader.close()


def segment_prefix(run_dir: Path) -> str:
    """How this run's segments begin: the run directory's name is unique on the machine (it is made by mkdtemp)."""
    return f"{PREFIX}{run_dir.name}-"


def unlink_segments(run_dir: Path, writer: str | None = None) -> int:
    """Remove what a writer (None: the whole run) left behind in shared memory; returns how many files."""
    prefix = segment_prefix(run_dir) + (f"{writer}-" if writer else "")
    count = 0
    for folder in (Path("/dev/shm"), run_dir):
        for path in folder.glob(f"{prefix}*"):
            path.unlink(missing_ok=True)
            count += 1
    return count
