import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.protocol.memory import blobs
from thespis.protocol.memory.blobs import (
    ARENA_BYTES,
    Arena,
    BlobError,
    BlobReader,
    BlobRef,
    Draft,
    block_bytes,
    segment_prefix,
    unlink_segments,
)
from thespis.protocol.memory.shortage import SpaceError


@pytest.fixture
def run_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="thespis-test-"))
    yield path
    unlink_segments(path)
    path.rmdir()


@pytest.fixture
def arena(run_dir: Path) -> Iterator[Arena]:
    arena = Arena(run_dir, "fetcher.1", 256 << 20)
    yield arena
    arena.close()


@pytest.fixture
def reader(run_dir: Path) -> Iterator[BlobReader]:
    reader = BlobReader(run_dir)
    yield reader
    reader.close()


def test_bytes_come_out_as_they_went_in(arena: Arena, reader: BlobReader) -> None:
    first, second = arena.put(b"picture"), arena.put(memoryview(b"sound" * 100))
    assert bytes(reader.view(first)) == b"picture"
    assert bytes(reader.view(second)) == b"sound" * 100
    assert first.segment == second.segment, "one warm segment"
    assert reader.view(first).readonly


def test_shape_and_dtype_give_the_size(arena: Arena, reader: BlobReader) -> None:
    ref, view = arena.allocate("float32", (3, 5))
    with view:
        assert view.nbytes == ref.nbytes == 60
        view[:] = bytes(range(60))
    assert bytes(reader.view(ref)) == bytes(range(60))


def test_a_freed_block_is_used_again(arena: Arena) -> None:
    first = arena.put(b"x" * 1000)
    arena.put(b"y" * 1000)
    arena.free(first)
    assert arena.put(b"z" * 1000).offset == first.offset


def test_a_large_block_has_a_segment_of_its_own_that_goes_back(arena: Arena) -> None:
    arena.put(b"small")
    large = arena.put(bytes(ARENA_BYTES + 1))
    assert arena.held == ARENA_BYTES + large.nbytes // 64 * 64 + 64
    arena.free(large)
    assert arena.held == ARENA_BYTES
    assert not os.path.exists(large.segment)


def test_the_limit_holds_before_anything_is_allocated(run_dir: Path) -> None:
    arena = Arena(run_dir, "fetcher.1", ARENA_BYTES)
    arena.put(b"x")
    with pytest.raises(MemoryError, match="limit"):
        arena.put(bytes(ARENA_BYTES))
    assert arena.held == ARENA_BYTES
    arena.close()


def test_a_full_shared_memory_falls_back_to_the_run_directory(
    run_dir: Path, reader: BlobReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = os.posix_fallocate
    full = ["/dev/shm"]

    def fallocate(fd: int, offset: int, size: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").startswith(tuple(full)):
            raise OSError(28, "No space left on device")
        reserve(fd, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    arena = Arena(run_dir, "fetcher.1", 2 * ARENA_BYTES)
    ref = arena.put(b"here")
    assert ref.segment.startswith(str(run_dir))
    assert bytes(reader.view(ref)) == b"here"
    full.append(str(run_dir))
    with pytest.raises(MemoryError, match="no room"):
        arena.put(bytes(ARENA_BYTES))
    unlink_segments(run_dir)
    assert not Path(ref.segment).exists()


@pytest.mark.parametrize(
    "change",
    [
        {"offset": -64},
        {"offset": ARENA_BYTES},
        {"shape": (ARENA_BYTES + 1,)},
        {"shape": (-8,)},
        {"dtype": "object"},
        {"segment": "/etc/passwd"},
        {"segment": "/dev/shm/../../etc/passwd"},
    ],
)
def test_a_reference_is_checked_before_it_is_mapped(
    arena: Arena, reader: BlobReader, change: dict[str, object]
) -> None:
    ref = arena.put(b"x")
    fields = {"segment": ref.segment, "offset": 0, "dtype": "uint8", "shape": (1,)} | change
    with pytest.raises(BlobError):
        reader.view(BlobRef(**fields))  # type: ignore[arg-type]


def test_a_link_in_the_place_of_a_segment_is_not_followed(
    run_dir: Path, reader: BlobReader
) -> None:
    link = f"/dev/shm/{segment_prefix(run_dir)}fetcher.1-9"
    os.symlink("/etc/hostname", link)
    with pytest.raises(BlobError):
        reader.view(BlobRef(link, 0, "uint8", (1,)))


def test_a_dead_writers_segments_go_but_what_is_mapped_stays(
    run_dir: Path, arena: Arena, reader: BlobReader
) -> None:
    other = Arena(run_dir, "fetcher.11", ARENA_BYTES)
    kept, lost = arena.put(b"kept"), arena.put(b"lost")
    theirs = other.put(b"theirs")
    view = reader.view(kept)
    unlink_segments(run_dir, "fetcher.1")
    assert bytes(view) == b"kept"
    reader.forget("fetcher.1")
    with pytest.raises(BlobError, match="gone"):
        reader.view(lost)
    assert bytes(reader.view(theirs)) == b"theirs", "fetcher.11 is not fetcher.1"
    arena._segments.clear()
    other.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 400_000), st.just(-1)), max_size=40))
def test_blocks_never_overlap_and_books_balance(steps: list[int]) -> None:
    """A number allocates so many bytes, -1 frees the oldest block."""
    run_dir = Path(tempfile.mkdtemp(prefix="thespis-test-"))
    arena, held = Arena(run_dir, "w.1", 64 << 20), []
    try:
        for mark, size in enumerate(steps):
            if size >= 0:
                held.append((arena.put(bytes([mark % 251]) * size), mark % 251))
            elif held:
                arena.free(held.pop(0)[0])
            spans = sorted(
                (ref.segment, ref.offset, ref.offset + max(1, ref.nbytes)) for ref, _ in held
            )
            assert all(a[0] != b[0] or a[2] <= b[1] for a, b in itertools.pairwise(spans))
        reader = BlobReader(run_dir)
        for ref, mark in held:
            assert bytes(reader.view(ref)) == bytes([mark]) * ref.nbytes
        reader.close()
        assert arena.used == sum(max(64, -(-ref.nbytes // 64) * 64) for ref, _ in held)
        for ref, _ in held:
            arena.free(ref)
        assert arena.used == 0
    finally:
        arena.close()
        run_dir.rmdir()


def test_the_prefix_names_the_run(run_dir: Path) -> None:
    assert segment_prefix(run_dir) == f"{blobs.PREFIX}{run_dir.name}-"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def mapped(segment: str) -> bool:
    return segment in Path("/proc/self/maps").read_text()


def test_a_map_costs_no_descriptor(arena: Arena, reader: BlobReader) -> None:
    before = descriptors()
    refs = [arena.put(b"x" * (ARENA_BYTES - 64)) for _ in range(6)]
    assert len({ref.segment for ref in refs}) == 6
    assert {bytes(reader.view(ref)[:1]) for ref in refs} == {b"x"}
    assert descriptors() == before


@pytest.mark.parametrize("extra", [1, 64, ARENA_BYTES])
def test_a_large_block_that_was_read_is_the_systems_again(
    arena: Arena, reader: BlobReader, extra: int
) -> None:
    large = arena.put(bytes(ARENA_BYTES + extra))
    view = reader.view(large)
    arena.free(large)
    assert view[-1] == 0, "whoever still reads keeps the pages"
    assert mapped(large.segment)
    del view
    assert not mapped(large.segment)


def test_a_regular_segment_stays_mapped_for_its_next_block(
    arena: Arena, reader: BlobReader
) -> None:
    first = arena.put(b"first")
    assert bytes(reader.view(first)) == b"first"
    arena.free(first)
    assert mapped(first.segment)
    reader.forget("fetcher.1")
    arena.close()
    assert not mapped(first.segment)


def test_what_cannot_be_mapped_is_an_error_and_leaves_no_descriptor(
    run_dir: Path, reader: BlobReader
) -> None:
    path = Path(f"/dev/shm/{segment_prefix(run_dir)}w.1-1")
    path.touch()
    before = descriptors()
    with pytest.raises(BlobError, match="cannot be mapped"):
        reader.view(BlobRef(str(path), 0, "uint8", (0,)))
    assert descriptors() == before


def test_a_view_of_a_writer_that_was_forgotten_can_still_be_read(
    arena: Arena, reader: BlobReader
) -> None:
    view = reader.view(arena.put(b"picture"))
    reader.forget("fetcher.1")
    arena.close()
    assert bytes(view) == b"picture"


def test_nobody_can_write_through_a_readers_view(arena: Arena, reader: BlobReader) -> None:
    view = reader.view(arena.put(b"picture"))
    with pytest.raises(TypeError):
        view[0] = 1


def drafted(arena: Arena, *items: bytes) -> list[BlobRef]:
    path, fd = arena.draft()
    draft = Draft(path, fd)
    for item in items:
        draft.put_bytes(item)
    os.close(fd)
    return draft.refs


def test_a_draft_that_was_filled_elsewhere_becomes_a_segment_without_a_copy(
    arena: Arena, reader: BlobReader
) -> None:
    refs = drafted(arena, b"one", b"two" * 100)
    assert arena.used == 0
    arena.adopt(refs)
    assert arena.used == sum(block_bytes(ref.nbytes) for ref in refs)
    assert [bytes(reader.view(ref)) for ref in refs] == [b"one", b"two" * 100]
    assert (
        arena.put(b"three").segment != refs[0].segment
    )  # nothing is put beside what was written elsewhere
    arena.free(refs[0])
    assert Path(refs[0].segment).exists()
    arena.free(refs[1])
    assert not Path(refs[0].segment).exists()
    assert arena.used == block_bytes(5)


def test_a_reader_keeps_no_map_of_a_draft(arena: Arena, reader: BlobReader) -> None:
    arena.adopt(refs := drafted(arena, b"one"))
    assert bytes(reader.view(refs[0])) == b"one"
    assert reader._maps == {}


@pytest.mark.parametrize("shift", [1, -1, 64, 1 << 40])
def test_a_draft_whose_blocks_are_not_in_it_is_refused(arena: Arena, shift: int) -> None:
    refs = drafted(arena, b"one", b"two")
    wrong = msgspec.structs.replace(refs[1], offset=refs[1].offset + shift)
    with pytest.raises(ValueError, match="draft"):
        arena.adopt([refs[0], wrong])
    with pytest.raises(ValueError, match="draft"):
        arena.adopt([msgspec.structs.replace(refs[0], shape=(1 << 20,))])
    arena.discard(refs[0].segment)
    assert not Path(refs[0].segment).exists()


def test_discarding_leaves_what_was_adopted(arena: Arena, reader: BlobReader) -> None:
    arena.adopt(refs := drafted(arena, b"one"))
    arena.discard(refs[0].segment)
    assert bytes(reader.view(refs[0])) == b"one"


def test_several_may_have_the_blocks_of_one_draft(arena: Arena, reader: BlobReader) -> None:
    """A call of many inputs is read in one go, and each becomes a request of its own."""
    one, two, three = refs = drafted(arena, b"one", b"two" * 100, b"three")
    arena.adopt([one])
    whole = arena.used
    arena.free(one)  # it has been read before the next comes
    assert arena.adopts([two]) == 0
    arena.adopt([two, three])
    assert bytes(reader.view(three)) == b"three"
    assert 0 < arena.used < whole
    arena.free(three)
    arena.free(two)
    assert (arena.used, arena.held) == (0, 0)
    assert not Path(refs[0].segment).exists()


def test_what_nobody_came_for_goes_when_the_draft_is_discarded(arena: Arena) -> None:
    one, two, three = drafted(arena, b"one", b"two", b"three")
    arena.adopt([one])
    with pytest.raises(ValueError, match="draft"):
        arena.adopt([three])  # not its turn
    arena.discard(one.segment)
    arena.discard(one.segment)
    with pytest.raises(ValueError, match="draft"):
        arena.adopt([two])
    assert arena.used < arena.held
    arena.free(one)
    assert (arena.used, arena.held) == (0, 0)


def test_a_draft_beyond_the_limit_is_refused(run_dir: Path) -> None:
    arena = Arena(run_dir, "fetcher.9", 1 << 20)
    refs = drafted(arena, bytes(1 << 21))
    with pytest.raises(SpaceError):
        arena.adopt(refs)
    arena.discard(refs[0].segment)
