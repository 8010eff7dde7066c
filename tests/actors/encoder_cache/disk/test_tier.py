"""What is kept is found again by whoever has the same fingerprint, and by nobody else; whatever is
done to a file, its reader gets its rows or a miss."""

import errno
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thespis.actors.encoder_cache.disk import tier as tiers
from thespis.actors.encoder_cache.disk.folder import Folder
from thespis.actors.encoder_cache.disk.item_file import Head, digest_of, encode_head
from thespis.actors.jobs.identity import part_keys
from thespis.protocol.errors import EngineError
from thespis.protocol.memory.blobs import Bytes

from .kept import (
    FINGERPRINT,
    FOREIGN,
    NAME,
    OTHER,
    WIDTH,
    answer,
    data,
    files,
    item,
    keep,
    kept,
    tier,
)


def test_an_item_is_found_again_by_a_later_engine(tmp_path: Path) -> None:
    kept(tmp_path, rows=3, seed=9)
    later = tier(tmp_path)
    found = later.find_item("called now", NAME)
    assert found is not None
    told, [stored] = found
    stored.close()
    assert told.parts[0].key == told.key == "called now"
    assert (told.text, told.counts, told.planes) == ("<image>", (3,), item(3).planes)
    assert (told.job, told.look, told.timings) == (0, item(3).look, ())
    assert answer(later) == data(3, 9)
    assert later.counters()["disk_damaged"] == 0
    later.close()


def test_an_item_of_several_parts_is_found_whole_or_not_at_all(tmp_path: Path) -> None:
    names = part_keys(NAME, 2)
    first = tier(tmp_path)
    for place, name in enumerate(names):
        made = None if place else item(2, NAME, parts=2)
        first.keep(name, name, memoryview(data(2, place)), (2, WIDTH), made)
    first.close()
    later = tier(tmp_path)
    found = later.find_item("now", NAME)
    assert found is not None
    told, stored = found
    tiers.close_all(stored)
    assert [part.key for part in told.parts] == list(part_keys("now", 2))
    assert [one.name for one in stored] == list(names)
    next(path for path in files(tmp_path) if path.name.endswith(names[1])).unlink()
    assert later.find_item("now", NAME) is None
    assert later.find_item("now", names[1]) is None
    later.close()


@pytest.mark.parametrize("name", [OTHER, part_keys(NAME, 2)[1]])
def test_nothing_is_found_under_another_name(tmp_path: Path, name: str) -> None:
    kept(tmp_path)
    later = tier(tmp_path)
    assert answer(later, name) is None
    assert answer(later) == data()
    later.close()


def test_another_fingerprint_finds_nothing_and_harms_nothing(tmp_path: Path) -> None:
    kept(tmp_path)
    other = tier(tmp_path, FOREIGN)
    assert answer(other) is None
    keep(other, seed=3)
    other.close()
    here, there = tier(tmp_path), tier(tmp_path, FOREIGN)
    assert (answer(here), answer(there)) == (data(seed=1), data(seed=3))
    here.close()
    there.close()


def misses(folder: Path, path: Path, harm: bytes) -> None:
    """A file of these bytes is a miss, counted, and gone afterwards."""
    path.write_bytes(harm)
    later = tier(folder)
    try:
        assert answer(later) is None
        assert later.counters()["disk_damaged"] == 1
        assert not path.exists()
        keep(later)  # and the next engine's is as good as ever
    finally:
        later.close()
    assert path.exists()


def test_every_bit_counts(tmp_path: Path) -> None:
    """A bit of every byte, and all of every byte."""
    path = kept(tmp_path)
    whole = path.read_bytes()
    later = tier(tmp_path)
    for place in range(len(whole)):
        for mask in (1 << place % 8, 0xFF):
            harm = bytearray(whole)
            harm[place] ^= mask
            path.write_bytes(harm)
            assert answer(later) is None, place
            assert not path.exists()
    assert later.counters()["disk_damaged"] == 2 * len(whole)
    path.write_bytes(whole)
    assert answer(later) == data()
    later.close()


def test_every_cut_and_every_hole_is_a_miss(tmp_path: Path) -> None:
    path = kept(tmp_path)
    whole = path.read_bytes()
    later = tier(tmp_path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert answer(later) is None, length
        assert not path.exists()
        hole = whole[:length] + bytes(len(whole) - length)  # a rename that outran its bytes
        path.write_bytes(hole)
        assert answer(later) in (None, data() if hole == whole else None), length
    later.close()


@pytest.mark.parametrize("more", [b"\0", b"more", bytes(4096)])
def test_a_longer_file_is_a_miss(tmp_path: Path, more: bytes) -> None:
    path = kept(tmp_path)
    misses(tmp_path, path, path.read_bytes() + more)


def test_files_that_changed_places_are_misses(tmp_path: Path) -> None:
    mine, other = kept(tmp_path, NAME, seed=1), kept(tmp_path, OTHER, seed=2)
    foreign = kept(tmp_path, NAME, seed=3, fingerprint=FOREIGN)
    misses(tmp_path, mine, other.read_bytes())
    misses(tmp_path, mine, foreign.read_bytes())
    later = tier(tmp_path)
    assert answer(later, OTHER) == data(seed=2)
    later.close()


def forged(rows: Bytes | None = None, **changes: Any) -> bytes:
    """A file that is whole, by somebody who knows how they are made."""
    rows = data() if rows is None else rows
    fields: dict[str, Any] = {
        "fingerprint": FINGERPRINT, "name": NAME, "dtype": "float32", "shape": (2, WIDTH),
        "digest": digest_of(rows), "item": item(),
    }  # fmt: skip
    return encode_head(Head(**(fields | changes))) + bytes(rows)


@pytest.mark.parametrize(
    "harm",
    [
        forged(dtype="float16", shape=(4, WIDTH)),
        forged(shape=(4, WIDTH // 2)),
        forged(shape=(1, 2 * WIDTH)),
        forged(shape=(0, WIDTH), rows=b""),
        forged(shape=(-2, WIDTH)),
        forged(shape=(1 << 60, WIDTH)),
        forged(dtype="object"),
        forged(digest=b""),
        forged(item=item(rows=3)),
        forged(item=item(counts=(5,))),
        forged(item=item(counts=(3, -1))),
        forged(item=item(planes=b"1234")),
        forged(item=item(anchors=b"1234")),
        forged(item=item(parts=0, counts=(), planes=None)),
        forged(item=item(rows=-2)),
        forged(item=item(tokens=1, planes=None)),
        forged(item=item(advance=-1)),
        forged(item=None),
        forged()[:16] + b"\xff\xff\xff\xff" + forged()[20:],
        b"",
        b"thespis",
        bytes(5000),
    ],
)
def test_a_file_that_says_what_cannot_be_is_a_miss(tmp_path: Path, harm: bytes) -> None:
    assert answer_of(tmp_path / "right", forged()) == data()
    misses(tmp_path, kept(tmp_path), harm)


def answer_of(folder: Path, file: bytes) -> bytes | None:
    path = kept(folder)
    path.write_bytes(file)
    later = tier(folder)
    try:
        return answer(later)
    finally:
        later.close()


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: os.symlink("/etc/passwd", path)])
def test_what_is_no_file_is_a_miss(tmp_path: Path, put: Callable[[Path], None]) -> None:
    path = kept(tmp_path)
    path.unlink()
    put(path)
    later = tier(tmp_path)
    assert answer(later) is None
    later.close()
    assert files(tmp_path) == []


def test_what_comes_too_fast_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiers, "BACKLOG_BYTES", 100)
    gate = threading.Event()
    write = Folder.write

    def wait(self: Folder, name: str, pieces: Any) -> bool:
        assert gate.wait(10)
        return write(self, name, pieces)

    monkeypatch.setattr(Folder, "write", wait)
    made = tier(tmp_path)
    for name in ("1" * 64, "2" * 64, "3" * 64, "4" * 64):
        keep(made, name)
    gate.set()
    made.close()
    counters = made.counters()
    assert counters["disk_written"] + counters["disk_dropped"] == 4
    assert 1 <= counters["disk_dropped"] <= 3
    assert len(files(tmp_path)) == counters["disk_written"]
    assert counters["disk_waiting_bytes"] == 0


def test_a_full_disk_is_said_once_and_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: Folder, name: str, pieces: Any) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Folder, "_write", full)
    made = tier(tmp_path)
    with caplog.at_level(logging.WARNING):
        for name in (NAME, OTHER):
            keep(made, name)
        made.close()
    assert made.counters()["disk_dropped"] == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "No space left" in caplog.text
    assert files(tmp_path) == []


def test_a_reset_takes_this_models_files_and_no_others(tmp_path: Path) -> None:
    kept(tmp_path, fingerprint=FOREIGN)
    made = tier(tmp_path)
    keep(made)
    made.empty()
    assert not made.knows(NAME)
    made.close()
    assert [path.name[:16] for path in files(tmp_path)] == [FOREIGN[:16]]
    later = tier(tmp_path)
    keep(later)
    later.close()
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    room = tmp_path / "thespis-encoder-cache"
    room.mkdir()
    room.chmod(mode)
    with pytest.raises(EngineError, match=r"encoder_cache_dir: .* others may write to it"):
        tier(tmp_path)


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = kept(tmp_path / "new")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


# what ids of callers stand for

CONTENT, CHANGED = "a" * 64, "b" * 128


def test_what_an_id_stands_for_is_found_by_a_later_engine_and_may_change(tmp_path: Path) -> None:
    for digest in (CONTENT, CHANGED, CHANGED):
        first = tier(tmp_path)
        first.keep_id(NAME, digest)
        first.close()
        later = tier(tmp_path)
        assert (later.find_id(NAME), later.find_id(OTHER)) == (digest, None)
        later.close()
    later = tier(tmp_path)
    assert later.find(NAME) is None, "it is no embedding"
    assert later.counters()["disk_damaged"] == 1
    later.close()
    kept(tmp_path)
    later = tier(tmp_path)
    assert later.find_id(NAME) is None, "nor the other way round"
    later.close()


def test_an_id_is_of_one_fingerprint_and_goes_with_a_reset(tmp_path: Path) -> None:
    first = tier(tmp_path)
    first.keep_id(NAME, CONTENT)
    first.close()
    other = tier(tmp_path, fingerprint=FOREIGN)
    assert other.find_id(NAME) is None
    other.close()
    again = tier(tmp_path)
    again.keep_id(OTHER, CONTENT)
    again.empty()
    assert (again.find_id(NAME), again.find_id(OTHER)) == (None, None)
    again.close()
    assert files(tmp_path) == []


def test_a_damaged_id_is_a_miss_wherever_it_is_damaged(tmp_path: Path) -> None:
    first = tier(tmp_path)
    first.keep_id(NAME, CONTENT)
    first.close()
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    harmed = [whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :] for at in range(len(whole))]
    later = tier(tmp_path)
    for harm in (*harmed, whole[:-1], whole + b"x", b"", bytes(4096), whole * 9):
        path.write_bytes(harm)
        assert later.find_id(NAME) is None
        assert not path.exists()
    path.write_bytes(whole)
    path.rename(path.with_name(path.name.replace(NAME, OTHER)))
    assert later.find_id(OTHER) is None, "another's"
    later.close()
