"""What is stored: whole or not at all, of its tenant alone, within bounds, on a folder that several
engines have."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3

from thespis.frontends.openai.stored.books import AROUND, Bounds
from thespis.frontends.openai.stored.ids import FILES, RESPONSES
from thespis.frontends.openai.stored.storage import Storage
from thespis.frontends.openai.stored.store import MAX_NOTE, Draft, Entry, Store
from thespis.protocol.errors import RequestError

ANN, BEN = "a" * 32, "b" * 32
WIDE = Bounds(1 << 30, 1 << 30)


class Note(msgspec.Struct):
    name: str


def store(folder: Path, bounds: Bounds = WIDE, **more: Any) -> Store:
    return Store(folder / "data", FILES, bounds, **more)


def read(of: Store, tenant: str, id: str) -> bytes:
    _, fd = of.open(tenant, id)
    with open(fd, "rb") as file:
        return file.read()


def everything(folder: Path) -> list[str]:
    """All files, but not the folders of tenants and families."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def files_open() -> list[str]:
    links = Path("/proc/self/fd").iterdir()
    return [os.readlink(link) for link in links if link.is_symlink()]


def code(error: pytest.ExceptionInfo[RequestError]) -> tuple[int, str | None]:
    return error.value.status, error.value.failure.code


def test_what_was_stored_is_there_for_its_tenant_alone(tmp_path: Path) -> None:
    one = store(tmp_path)
    entry = one.add(ANN, b"content", Note("x.png"))
    other = store(tmp_path)  # after a restart
    assert other.find(ANN, entry.id) == entry
    assert msgspec.json.decode(entry.note, type=Note) == Note("x.png")
    assert entry.digest == f"blake3:{blake3(b'content').hexdigest()}"
    assert read(other, ANN, entry.id) == b"content"
    for tenant in (BEN, ""):
        with pytest.raises(RequestError) as error:
            other.find(tenant, entry.id)
        assert code(error) == (404, "not_found")
        assert list(other.entries(tenant)) == []
    other.remove(ANN, entry.id)
    with pytest.raises(RequestError):
        one.find(ANN, entry.id)
    assert everything(tmp_path) == []


@pytest.mark.parametrize(
    "id",
    ["", "file-", "file-" + "0" * 37, "file-" + "0" * 39, "FILE-" + "0" * 38, "file-" + "G" * 38,
     "resp_" + "0" * 38, "../" + "0" * 38, "file-" + "/" * 38, "file-" + "." * 38, "file-\0",
     "file-" + "0" * 38 + "\n", "file-" + "0" * 37 + "/", "file-" + "٠" * 38, "/etc/passwd", "..",
     None, 7, b"file-" + b"0" * 38],
)  # fmt: skip
def test_what_is_no_id_becomes_no_path(tmp_path: Path, id: Any) -> None:
    one = store(tmp_path)
    for ask in (one.find, one.open, one.place, one.remove):
        with pytest.raises(RequestError) as error:
            ask(ANN, id)
        assert code(error) == (404, "not_found")
    assert not FILES.is_id(id)


def test_ids_sort_by_time_and_end_in_what_cannot_be_guessed(tmp_path: Path) -> None:
    one = store(tmp_path, clock=lambda: 1_700_000_000.0)
    ids = [one.add(ANN, b"", Note("")).id for _ in range(20)]
    assert ids == sorted(ids)
    assert len({id[-24:] for id in ids}) == 20
    assert FILES.microseconds(ids[0]) == 1_700_000_000_000_000
    assert [entry.id for entry in one.entries(ANN)] == ids[::-1]
    assert [entry.id for entry in one.entries(ANN, False, ids[3])] == ids[4:]
    one.remove(ANN, ids[3])
    assert [entry.id for entry in one.entries(ANN, True, ids[3])] == ids[2::-1]
    with pytest.raises(RequestError):
        list(one.entries(ANN, True, "file-x"))


def test_folders_are_private_and_those_of_others_are_not_used(tmp_path: Path) -> None:
    store(tmp_path).add(ANN, b"", Note(""))
    assert {
        path.stat().st_mode & 0o777 for path in (tmp_path / "data").rglob("*") if path.is_dir()
    } == {0o700}
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    (tmp_path / "data" / "v1").chmod(0o777)
    with pytest.raises(PermissionError):
        store(tmp_path).add(ANN, b"", Note(""))
    linked = tmp_path / "linked"
    linked.symlink_to(tmp_path)
    with pytest.raises(PermissionError):
        Store(linked, FILES, WIDE).add(ANN, b"", Note(""))


def test_bounds_hold_in_number_and_bytes_for_a_tenant_and_in_all(tmp_path: Path) -> None:
    one = store(tmp_path, Bounds(4 * AROUND, 6 * AROUND, 3, 4))
    with pytest.raises(RequestError) as error:
        one.add(ANN, bytes(4 * AROUND), Note(""))
    assert code(error) == (413, "file_too_large")
    one.add(ANN, bytes(2 * AROUND), Note(""))
    with pytest.raises(RequestError) as error:
        one.add(ANN, bytes(AROUND), Note(""))
    assert code(error) == (413, "storage_full")
    small = [one.add(BEN, b"", Note("")).id for _ in range(3)]
    with pytest.raises(RequestError) as error:
        one.add(BEN, b"", Note(""))
    assert code(error) == (413, "storage_full")
    with pytest.raises(RequestError) as error:
        one.add("", b"", Note(""))
    assert code(error) == (503, "storage_full")
    assert one.stored() == (4, 6 * AROUND)
    one.remove(BEN, small[0])
    assert one.stored(BEN) == (2, 2 * AROUND)
    one.add(BEN, b"", Note(""))
    with pytest.raises(RequestError) as error:
        store(tmp_path).add(ANN, b"", Note("x" * MAX_NOTE))
    assert code(error) == (413, "note_too_large")


def test_a_large_one_is_refused_while_it_comes(tmp_path: Path) -> None:
    one = store(tmp_path, Bounds(8 << 20, 8 << 20))

    def fill(*drafts: Draft) -> None:
        for _ in range(1000):
            for draft in drafts:
                draft.write(bytes(1 << 16))

    with one.begin(ANN) as first, pytest.raises(RequestError):
        fill(first)
    assert first.size < 10 << 20
    assert everything(tmp_path) == []
    with one.begin(ANN) as first, one.begin(ANN) as second, pytest.raises(RequestError):
        fill(first, second)
    assert first.size + second.size < 10 << 20
    one.add(ANN, bytes(7 << 20), Note(""))  # what was refused holds nothing


def test_what_is_over_is_gone_and_swept(tmp_path: Path) -> None:
    now = [1000.0]
    one = store(tmp_path, clock=lambda: now[0])
    brief, lasting = (one.add(ANN, b"x", Note(""), end).id for end in (10.0, None))
    assert one.sweep() == 0
    now[0] = 1010.0
    with pytest.raises(RequestError):
        one.find(ANN, brief)
    assert [entry.id for entry in one.entries(ANN)] == [lasting]
    assert one.sweep() == 1
    assert one.stored() == (1, 1 + AROUND)


def test_a_note_is_replaced_whole(tmp_path: Path) -> None:
    one = store(tmp_path)
    entry = one.add(ANN, b"x", Note("a"))
    changed = one.replace(ANN, msgspec.structs.replace(entry, expires=9e9), Note("b"))
    assert one.find(ANN, entry.id) == changed
    assert (changed.expires, bytes(changed.note)) == (9e9, b'{"name":"b"}')
    one.remove(ANN, entry.id)
    with pytest.raises(RequestError):
        one.replace(ANN, entry, Note("c"))
    assert everything(tmp_path) == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b'{"id":"file-0"}', bytes(1 << 20)])
def test_a_damaged_note_is_no_entry(tmp_path: Path, damage: bytes) -> None:
    one = store(tmp_path)
    entry = one.add(ANN, b"x", Note("a"))
    (one.place(ANN, entry.id) / "note").write_bytes(damage)
    with pytest.raises(RequestError):
        one.find(ANN, entry.id)
    assert one.sweep() == 0, "its content may be of use to somebody"
    one.remove(ANN, entry.id)
    assert everything(tmp_path) == []


CALLS = ("open", "write", "fsync", "rename", "mkdir", "unlink", "rmdir", "close")


@contextmanager
def dying_at(number: int) -> Iterator[None]:
    """The process ends, without a word, before its `number`th call of the operating system."""
    left = [number]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
            return real(*args, **more)

        return call

    real = {name: getattr(os, name) for name in CALLS}
    for name, function in real.items():
        setattr(os, name, counted(function))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def cut(number: int, work: Callable[[], None]) -> bool:
    """Do it in a process that dies at its `number`th call; whether it got through."""
    if (pid := os.fork()) == 0:
        try:
            with dying_at(number):
                work()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 0


def test_a_writer_that_is_killed_anywhere_leaves_all_or_nothing(tmp_path: Path) -> None:
    content, number, seen = b"x" * 70_000, 0, set()
    through = False
    while not through:
        folder = tmp_path / str(number)
        old = store(folder).add(ANN, b"old", Note("old"))
        one = store(folder)

        def work(one: Store = one) -> None:
            with one.begin(ANN) as draft:
                draft.write(content[:30_000])
                draft.write(content[30_000:])
                draft.keep(Note("new"))

        through = cut(number, work)
        found = list(store(folder).entries(ANN, False))
        assert found[0] == old
        assert read(one, ANN, old.id) == b"old"
        for entry in found[1:]:
            assert (entry.size, read(one, ANN, entry.id)) == (len(content), content)
        store(folder).sweep()
        assert len(everything(folder)) == 2 * len(found)
        assert store(folder).stored()[0] == len(found)
        seen.add(len(found))
        number += 1
    assert seen == {1, 2}
    assert number > 10


def test_a_change_or_removal_that_is_killed_anywhere_is_done_or_not(tmp_path: Path) -> None:
    for change in (True, False):
        number, through, seen = 0, False, set()
        while not through:
            folder = tmp_path / f"{change}{number}"
            one = store(folder)
            entry = one.add(ANN, b"x", Note("old"))

            def work(one: Store = one, entry: Entry = entry, change: bool = change) -> None:
                if change:
                    one.replace(ANN, entry, Note("new"))
                else:
                    one.remove(ANN, entry.id)

            through = cut(number, work)
            found = [bytes(entry.note) for entry in store(folder).entries(ANN)]
            store(folder).sweep()
            assert found == [bytes(entry.note) for entry in store(folder).entries(ANN)]
            if change:
                one.replace(ANN, entry, Note("newest"))
            seen.add(str(found))
            number += 1
        assert len(seen) == 2


def test_a_sweep_leaves_what_others_are_writing(tmp_path: Path) -> None:
    one, other = store(tmp_path), store(tmp_path)
    with one.begin(ANN) as draft:
        draft.write(b"x")
        assert other.sweep() == 0
        entry = draft.keep(Note(""))
    assert read(other, ANN, entry.id) == b"x"


def test_two_engines_on_one_folder_fill_it_to_its_bound_and_not_beyond(tmp_path: Path) -> None:
    bounds = Bounds(1 << 30, 1 << 30, tenant_entries=40)
    failed: list[BaseException] = []

    def fill() -> None:
        one, mine = store(tmp_path, bounds), []
        try:
            for turn in range(60):
                try:
                    mine.append(one.add(ANN, b"x" * turn, Note("")))
                except RequestError:
                    if mine:  # else the others have filled it before this one came
                        one.remove(ANN, mine.pop(0).id)
                one.sweep()
                for entry in mine:
                    assert read(one, ANN, entry.id) == b"x" * entry.size
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=fill) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    time.sleep(0.11)
    assert store(tmp_path, bounds).stored()[0] == len(list(store(tmp_path).entries(ANN))) <= 40


def test_families_do_not_meet(tmp_path: Path) -> None:
    files, answers = store(tmp_path), Store(tmp_path / "data", RESPONSES, WIDE)
    one, two = files.add(ANN, b"", Note("")), answers.add(ANN, b"", Note(""))
    assert (one.id[:5], two.id[:5]) == ("file-", "resp_")
    for family, id in ((files, two.id), (answers, one.id)):
        with pytest.raises(RequestError):
            family.find(ANN, id)


async def test_a_writer_whose_caller_leaves_leaves_nothing(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "data"), 1 << 30)
    started = asyncio.Event()

    async def upload() -> None:
        async with storage.draft(storage.files, ANN) as draft:
            await storage.run(draft.write, b"x" * 100_000)
            started.set()
            await asyncio.sleep(3600)

    for wait in (True, False):
        task = asyncio.create_task(upload())
        await (started.wait() if wait else asyncio.sleep(0))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await storage.close()
    assert everything(tmp_path) == []


async def test_a_reader_whose_caller_leaves_leaves_no_file_open(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "data"), 1 << 30)
    async with storage.draft(storage.files, ANN) as draft:
        await storage.run(draft.write, b"x")
        entry = await storage.run(draft.keep, Note("x"))
    opened = asyncio.Event()

    async def look() -> None:
        async with storage.opened(storage.files, ANN, entry.id):
            opened.set()
            await asyncio.sleep(3600)

    for turns in (0, 1, 2, None):
        looking = asyncio.create_task(look())
        if turns is None:
            await opened.wait()
        for _ in range(turns or 0):
            await asyncio.sleep(0)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    await storage.close()
    assert not [file for file in files_open() if file.startswith(str(tmp_path))]


async def test_a_folder_that_cannot_be_used_is_said_without_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder, bytes, expected in (
        (tmp_path / "file", 1 << 30, (503, "storage_unavailable")),
        (tmp_path / "data", 0, (400, "storage_off")),
    ):
        storage = Storage(str(folder), bytes)
        with pytest.raises(RequestError) as error:
            await storage.run(storage.files.add, ANN, b"", Note(""))
        assert code(error) == expected
        assert str(tmp_path) not in str(error.value)
        await storage.close()
