"""Big data in shared memory: one writer per arena, any number of readers, references instead of
bytes in messages.

An arena is a file of this run in /dev/shm (in the run directory where /dev/shm is full or absent),
reserved with posix_fallocate, so that a full file system is an OSError at allocation and never a
SIGBUS later. The writer keeps the books: a block is free again when its writer says so, which it
does when the last reader has released it by message. Readers check offset, shape and dtype against
the file before they map.
"""

import math
import os
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..wire import Record
from .mapping import map_file
from .shortage import SpaceError

Bytes = memoryview | bytes | bytearray

ITEM_SIZE: dict[str, int] = {
    "uint8": 1, "int32": 4, "int64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "bool": 1,
    "float64": 8,
}  # fmt: skip
ALIGN = 64
ARENA_BYTES = 16 << 20
"""Smallest arena segment; a larger block gets a segment of its own size."""
PREFIX = "thespis-"


def block_bytes(nbytes: int) -> int:
    """What a block of `nbytes` takes up in an arena."""
    return max(ALIGN, -(-nbytes // ALIGN) * ALIGN)


def arena_limit(nbytes: int) -> int:
    """Of an arena that is to hold `nbytes` in blocks: fragments take some space, too."""
    return nbytes + nbytes // 4 + 4 * ARENA_BYTES


class BlobRef(Record, frozen=True):
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
    """Names no readable bytes: its writer died, it is not valid, or has no map (`shortage`)."""


@dataclass(slots=True, eq=False)
class _Segment:
    """One file."""

    path: str
    size: int
    map: memoryview | None
    """None where somebody else has filled it: nothing is put between its blocks."""
    free: list[tuple[int, int]]
    """(offset, length) of its free blocks, in this order."""
    adopted: int = 0
    """Bytes up to which blocks of a draft have an owner, where others come later."""

    @classmethod
    def reserve(cls, path: str, size: int) -> "_Segment":
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
            return cls(path, size, map_file(fd, size, writable=True), [(0, size)])
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(fd)

    @property
    def over(self) -> bool:
        """Nothing is in it, and it does not stay warm, as segments of the regular size do."""
        return self.free == [(0, self.size)] and (self.map is None or self.size > ARENA_BYTES)

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
        # the end of the run may have swept it before its writer did
        Path(self.path).unlink(missing_ok=True)


class Arena:
    """One writer's long-lived shared memory. Not thread-safe: one owner.

    `limit` bounds all its segments together, in bytes. Raises SpaceError beyond it and where shared
    memory is full.
    """

    def __init__(self, run_dir: Path, writer: str, limit: int) -> None:
        self._run_dir = run_dir
        self._writer = writer
        self._limit = limit
        self._count = 0
        self._segments: dict[str, _Segment] = {}
        self._folders = (Path("/dev/shm"), run_dir)

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
            offset = None if segment.map is None else segment.take(room)
            if offset is not None:
                break
        else:
            segment = self._grow(room)
            offset = segment.take(room)
        assert segment.map is not None
        assert offset is not None
        view = segment.map[offset : offset + nbytes]
        return BlobRef(segment.path, offset, dtype, shape), view

    def put(
        self, data: Bytes, dtype: str = "uint8", shape: tuple[int, ...] | None = None
    ) -> BlobRef:
        """Copy `data` into a block."""
        flat = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
        ref, view = self.allocate(dtype, shape if shape is not None else (flat.nbytes,))
        with view:
            view[:] = flat
        return ref

    def free(self, ref: BlobRef) -> None:
        segment = self._segments[ref.segment]
        segment.give(ref.offset, block_bytes(ref.nbytes))
        self._close_if_over(segment)

    def draft(self, spare: bool = False) -> tuple[str, int]:
        """A new, empty file and its descriptor, for another process to fill (`Draft`); then `adopt`
        or `discard` it.

        `spare`: in the run directory, which serves where /dev/shm is full. Raises OSError.
        """
        path = str(self._folders[spare] / self._next_name())
        return path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def adopts(self, refs: Sequence[BlobRef]) -> int:
        """Bytes that will be used when these are adopted and are not yet. Raises OSError."""
        path = refs[0].segment
        return 0 if path in self._segments else os.stat(path).st_size

    def adopt(self, refs: Sequence[BlobRef]) -> None:
        """A draft becomes a segment, all of which is used from then on. Several may have its blocks
        one after the other. Raises ValueError unless `refs` are the next ones in a row."""
        path = refs[0].segment
        known = self._segments.get(path)
        size, end = (os.stat(path).st_size, 0) if known is None else (known.size, known.adopted)
        for ref in refs:
            if ref.segment != path or ref.offset != end:
                raise ValueError("the blocks of a draft lie one behind the other")
            end += block_bytes(ref.nbytes)
        if end > size:
            raise ValueError("the draft is shorter than its blocks")
        if known is None:
            self._check_limit(size)
            # a hole: readers keep no map of what is not of the regular size
            os.truncate(path, max(size, ARENA_BYTES + 1))
            known = self._segments[path] = _Segment(path, size, None, [])
        known.adopted = end

    def discard(self, path: str) -> None:
        """Remove a draft, or what nobody has adopted of it. Idempotent."""
        segment = self._segments.get(path)
        if segment is None:
            Path(path).unlink(missing_ok=True)
        elif segment.map is None and segment.adopted < segment.size:
            rest, segment.adopted = segment.adopted, segment.size
            segment.give(rest, segment.size - rest)
            self._close_if_over(segment)

    def close(self) -> None:
        """Unlink every segment; readers that have it mapped keep their view."""
        for segment in self._segments.values():
            segment.close()
        self._segments.clear()

    def _close_if_over(self, segment: _Segment) -> None:
        if segment.over:
            del self._segments[segment.path]
            segment.close()

    def _grow(self, room: int) -> _Segment:
        size = max(ARENA_BYTES, room)
        self._check_limit(size)
        name = self._next_name()
        reason: OSError | None = None
        for folder in self._folders:
            try:
                segment = _Segment.reserve(str(folder / name), size)
            except OSError as error:
                reason = error
                continue
            self._segments[segment.path] = segment
            return segment
        raise SpaceError(f"{self._writer}: no room for {size} bytes of shared memory") from reason

    def _check_limit(self, more: int) -> None:
        if self.held + more > self._limit:
            raise SpaceError(f"{self._writer}: shared memory limit of {self._limit} bytes reached")

    def _next_name(self) -> str:
        self._count += 1
        return f"{segment_prefix(self._run_dir)}{self._writer}-{self._count}"


class Draft:
    """Fills a draft block by block, by its descriptor. Raises OSError where there is no room."""

    def __init__(self, path: str, fd: int) -> None:
        self._path, self._fd = path, fd
        self._end = 0
        self.refs: list[BlobRef] = []

    def put_bytes(
        self, data: Bytes, dtype: str = "uint8", shape: tuple[int, ...] | None = None
    ) -> BlobRef:
        view = memoryview(data).cast("B")
        ref = BlobRef(self._path, self._end, dtype, shape if shape is not None else (view.nbytes,))
        self._end += block_bytes(view.nbytes)
        os.posix_fallocate(self._fd, ref.offset, self._end - ref.offset)
        written = 0
        while written < view.nbytes:
            written += os.pwrite(self._fd, view[written:], ref.offset + written)
        self.refs.append(ref)
        return ref

    def drop_bytes(self, blob: BlobRef) -> None:
        """The whole draft goes with the request that it was for."""

    def adopt(self, blobs: Sequence[BlobRef]) -> None:
        raise ValueError("a draft takes bytes only")


class BlobReader:
    """Maps other processes' segments for reading. It keeps the maps of regular ones, which stay
    with their writer; a larger one goes back to the system with its block, which it can only do
    when nobody keeps a map of it."""

    def __init__(self, run_dir: Path) -> None:
        self._prefix = segment_prefix(run_dir)
        self._folders = {"/dev/shm", str(run_dir)}
        self._maps: dict[str, memoryview] = {}

    def view(self, ref: BlobRef) -> memoryview:
        """Read-only, zero-copy. Raises BlobError: the segment is gone, too short or not ours."""
        folder, _, name = ref.segment.rpartition("/")
        if (
            folder not in self._folders
            or not name.startswith(self._prefix)
            or ref.dtype not in ITEM_SIZE
        ):
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
    """How this run's segments begin: the run directory's name is unique, by mkdtemp."""
    return f"{PREFIX}{run_dir.name}-"


def unlink_segments(run_dir: Path, writer: str | None = None) -> None:
    """Remove what a writer (None: the whole run) left behind in shared memory."""
    prefix = segment_prefix(run_dir) + (f"{writer}-" if writer else "")
    for folder in (Path("/dev/shm"), run_dir):
        for path in folder.glob(f"{prefix}*"):
            path.unlink(missing_ok=True)
