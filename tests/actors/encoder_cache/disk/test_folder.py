"""The bound holds at every moment, whoever writes and whoever is killed; nothing is ever there in
part."""

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from thespis.actors.encoder_cache.disk import folder as folders
from thespis.actors.encoder_cache.disk.folder import BLOCK, BusyError, Folder

NAMES = [f"{'0' * 16}-{number:064x}" for number in range(100)]
FILL = """
import random, sys
from pathlib import Path
from thespis.actors.encoder_cache.disk.folder import Folder
folder = Folder(sys.argv[1], int(sys.argv[2]))
folder.open()
dice = random.Random(int(sys.argv[3]))
print("begun", flush=True)
while True:
    number = dice.randrange(40)
    folder.write(f"{'0' * 16}-{number:064x}", (bytes([number]) * dice.randrange(1, 60000), b"end"))
"""


def opened(path: Path, blocks: int = 10) -> Folder:
    made = Folder(path, blocks * BLOCK)
    made.open()
    return made


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """Nobody writes meanwhile: a look at many files takes longer than to change them."""
    lock = os.open(path / folders.ROOM / "lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def held(path: Path) -> dict[str, int]:
    """What every file takes, by name; those that go meanwhile take nothing."""
    found: dict[str, int] = {}
    for entry in (path / folders.ROOM).iterdir():
        try:
            size = entry.stat().st_size
        except FileNotFoundError:
            continue
        if entry.name != "lock":
            found[entry.name] = max(BLOCK, -(-size // BLOCK) * BLOCK)
    return found


def test_what_was_used_longest_ago_goes(tmp_path: Path) -> None:
    made = opened(tmp_path, blocks=8)
    for age, name in enumerate(NAMES[:8]):
        assert made.write(name, (b"x",))
        os.utime(tmp_path / folders.ROOM / name, (1000 + age, 1000 + age))
    found = made.find(NAMES[0])
    assert found is not None
    made.used(found[0])
    os.close(found[0])
    assert made.write(NAMES[8], (b"x",))
    assert held(tmp_path).keys() == {NAMES[0], *NAMES[3:9]}
    made.close()


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    made = opened(tmp_path)
    assert made.write(NAMES[0], (b"first",))
    assert not made.write(NAMES[0], (b"second",))
    assert (tmp_path / folders.ROOM / NAMES[0]).read_bytes() == b"first"
    assert not made.write(NAMES[1], (bytes(11 * BLOCK),))
    made.close()


def test_what_a_killed_writer_left_goes_and_strange_files_stay(tmp_path: Path) -> None:
    opened(tmp_path).close()
    room = tmp_path / folders.ROOM
    (room / f"{NAMES[0]}.part").write_bytes(b"half")
    (room / "notes.txt").write_bytes(b"somebody's")
    again = opened(tmp_path)
    assert sorted(path.name for path in room.iterdir()) == ["lock", "notes.txt"]
    again.close()


@pytest.mark.parametrize("noise", [b"", b"\0" * 16, b"\xff" * 16, b"nonsense", b"\0" * 17])
def test_a_damaged_count_is_made_anew(tmp_path: Path, noise: bytes) -> None:
    made = opened(tmp_path, blocks=4)
    for name in NAMES[:4]:
        made.write(name, (b"x",))
    (tmp_path / folders.ROOM / "lock").write_bytes(noise)
    made.write(NAMES[4], (b"x",))
    assert len(held(tmp_path)) <= 4
    assert made.taken == sum(held(tmp_path).values())
    made.close()


def test_a_writer_that_is_stuck_makes_others_drop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "LOCK_SECONDS", 0.05)
    made = opened(tmp_path)
    stuck = os.open(tmp_path / folders.ROOM / "lock", os.O_RDWR)
    fcntl.flock(stuck, fcntl.LOCK_EX)
    with pytest.raises(BusyError):
        made.write(NAMES[0], (b"x",))
    other = opened(tmp_path)  # nor does a start wait for it
    other.close()
    os.close(stuck)
    assert made.write(NAMES[0], (b"x",))
    made.close()


def test_the_bound_holds_while_writers_are_killed(tmp_path: Path) -> None:
    """Two processes write as fast as they can, one after the other is killed; at every moment the
    folder is within its bound, and whatever has a name is whole."""
    blocks, room = 40, tmp_path / folders.ROOM
    opened(tmp_path, blocks).close()
    dice = random.Random(1)

    def start(seed: int) -> "subprocess.Popen[bytes]":
        arguments = [str(tmp_path), str(blocks * BLOCK), str(seed)]
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", FILL, *arguments], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        return process

    writers = [start(seed) for seed in range(2)]
    try:
        for turn in range(4):
            until = time.monotonic() + dice.uniform(0.1, 0.2)
            while time.monotonic() < until:
                with whole(tmp_path):
                    assert sum(held(tmp_path).values()) <= blocks * BLOCK
            gone = writers.pop(0)
            gone.send_signal(signal.SIGKILL)
            gone.wait()
            assert gone.stdout is not None
            gone.stdout.close()
            if turn < 2:
                writers.append(start(10 + turn))
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()
    assert held(tmp_path)
    for path in room.iterdir():
        if path.name != "lock" and not path.name.endswith(".part"):
            data = path.read_bytes()
            assert data.endswith(b"end")
            assert set(data[:-3]) == {int(path.name[17:], 16)}
    last = opened(tmp_path, blocks)
    assert not any(name.endswith(".part") for name in held(tmp_path))
    assert last.taken == sum(held(tmp_path).values())
    last.close()
