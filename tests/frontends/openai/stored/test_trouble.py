"""What is stored when the disk is full, damaged, or somebody else's: nothing is half there, nothing
is taken that others may have written, and the sweeper goes on."""

import asyncio
import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from thespis.frontends.openai.batches.job import cancelled_at
from thespis.frontends.openai.stored import folder, storage
from thespis.frontends.openai.stored.books import Bounds
from thespis.frontends.openai.stored.files import seconds_until_over
from thespis.frontends.openai.stored.ids import FILES
from thespis.frontends.openai.stored.paging import read_page
from thespis.frontends.openai.stored.storage import Storage
from thespis.frontends.openai.stored.store import Store
from thespis.protocol.errors import RequestError

ANN = "a" * 32


class Note(msgspec.Struct):
    name: str


def store(path: Path) -> Store:
    return Store(path / "data", FILES, Bounds(1 << 30, 1 << 30))


def failing(number: int) -> Any:
    def fail(*args: Any, **more: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_file_that_finds_no_room_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, draft = tmp_path / "cancel", tmp_path / "cancel.draft"
    with monkeypatch.context() as full:
        full.setattr(os, "write", failing(errno.ENOSPC))
        with pytest.raises(OSError, match="No space"):
            folder.replace_file(path, draft, b"1.0")
    assert (list(tmp_path.iterdir()), cancelled_at(tmp_path)) == ([], None)
    folder.replace_file(path, draft, b"1.0")
    assert cancelled_at(tmp_path) == 1.0


def test_what_may_not_outlive_a_power_cut_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = store(tmp_path)
    one.add(ANN, b"", Note(""))
    real, synced = folder.sync_folder, list[Path]()

    def sync(path: Path) -> None:
        synced.append(path)
        if len(synced) == 2:  # behind the rename
            raise OSError(errno.EIO, "no disk")
        real(path)

    monkeypatch.setattr(folder, "sync_folder", sync)
    with pytest.raises(OSError, match="no disk"):
        one.add(ANN, b"x", Note(""))
    assert len(synced) == 2
    (left,) = one.entries(ANN)
    assert os.listdir(one.place(ANN, left.id).parent) == [left.id]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOLCK])
def test_nothing_goes_on_without_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(number))
    with pytest.raises(OSError, match=os.strerror(number)), folder.held(tmp_path):
        raise AssertionError("it is not held")
    with pytest.raises(OSError, match=os.strerror(number)):
        store(tmp_path).begin(ANN)


def test_what_others_may_have_written_is_not_read(tmp_path: Path) -> None:
    one = store(tmp_path)
    id = one.add(ANN, b"x", Note("")).id
    (tmp_path / "data" / "v1").chmod(0o777)
    for ask in (one.find, one.open, one.place, one.remove):
        with pytest.raises(PermissionError):
            ask(ANN, id)
    with pytest.raises(PermissionError):
        list(one.entries(ANN))
    with pytest.raises(PermissionError):
        one.sweep()


async def test_the_sweeper_outlives_what_goes_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "SWEEP_SECONDS", 0.0)
    one = Storage(str(tmp_path / "data"), 1 << 30)
    again = asyncio.Event()
    loop, seen = asyncio.get_running_loop(), list[int]()

    def sweep() -> int:
        seen.append(1)
        if len(seen) > 2:
            loop.call_soon_threadsafe(again.set)
        raise ValueError("a bug")

    monkeypatch.setattr(one.files, "sweep", sweep)
    await one.run(lambda: None)
    async with asyncio.timeout(10):
        await again.wait()
    await one.close()


async def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Storage(str(tmp_path / "data"), 1 << 30)
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", failing(errno.ENOSPC))
        with pytest.raises(RequestError) as raised:
            await one.run(one.files.add, ANN, b"", Note(""))
    assert raised.value.failure.code == "no_disk_space"
    await one.run(one.files.add, ANN, b"", Note(""))
    await one.close()


async def test_what_takes_long_lets_others_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many long lists as there are threads hold up nobody."""
    monkeypatch.setattr(storage, "SOME_SECONDS", 0.0)
    one = Storage(str(tmp_path / "data"), 1 << 30)
    over = threading.Event()

    def steps() -> Iterator[None]:
        while not over.is_set():
            yield

    long = [asyncio.create_task(one.run_through(steps())) for _ in range(2 * storage.THREADS)]
    async with asyncio.timeout(10):
        await asyncio.sleep(0)
        await one.run(one.files.add, ANN, b"", Note(""))
        over.set()
        await asyncio.gather(*long)
    await one.close()


def test_a_number_is_read_whole_or_refused() -> None:
    assert seconds_until_over("created_at", "000003600", "vision") == 3600.0
    assert read_page({"limit": "7"}, 20, 100).limit == 7
    for many in ("0000000600", "6000000000", "", "60.0", "٦٠٠", "60\n"):
        with pytest.raises(RequestError):
            seconds_until_over("created_at", many, "vision")
        with pytest.raises(RequestError):
            read_page({"limit": many}, 20, 10_000)
