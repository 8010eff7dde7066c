"""The download cache on a real folder."""

import asyncio
import errno
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from thespis.actors.fetcher.disk import DiskCache
from thespis.actors.fetcher.freshness import Validators
from thespis.protocol.errors import EngineError

URL = "https://pictures.example/a.png?token=secret"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def free(delta: int) -> None:
    """There is room."""


@asynccontextmanager
async def cache(
    folder: Path, max_bytes: int = 1 << 20, rules: Any = ("",), clock: Clock | None = None
) -> AsyncIterator[DiskCache]:
    here = DiskCache(folder, max_bytes, 60.0, rules, clock or Clock())
    try:
        await here.open()
        yield here
    finally:
        await here.close()


async def kept(here: DiskCache, url: str, data: bytes, seconds: float = 60.0) -> None:
    here.keep(url, data, seconds)
    await asyncio.gather(*here._tasks)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")


async def test_S9_a_restart_finds_what_was_kept(tmp_path: Path) -> None:
    async with cache(tmp_path) as here:
        await kept(here, URL, b"picture")
        assert await here.find(URL, free) == b"picture"
    async with cache(tmp_path) as here:
        assert await here.find(URL, free) == b"picture"
        assert here.hits == 1
        assert await here.find(URL + "x", free) is None


async def test_S9_names_are_digests_and_nothing_names_the_url(tmp_path: Path) -> None:
    async with cache(tmp_path) as here:
        await kept(here, URL, b"picture")
        await kept(here, "https://other.example/../../etc/passwd", b"picture")
    names = [path.name for path in files(tmp_path)]
    assert len(names) == 3, "one content, two notes"
    assert all(len(name) == 64 and set(name) <= set("0123456789abcdef") for name in names)
    assert sha256(b"picture").hexdigest() in names
    for path in files(tmp_path):
        assert b"secret" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0


async def test_S9_it_ends_with_its_time(tmp_path: Path) -> None:
    clock = Clock()
    async with cache(tmp_path, clock=clock) as here:
        await kept(here, URL, b"picture", 1e9)
        await kept(here, "u", b"short", 10.0)
        await kept(here, "v", b"never", 0.0)
        assert await here.find("v", free) is None
        clock.now += 30
        assert await here.find("u", free) is None
        assert await here.find(URL, free) == b"picture"
        clock.now += 30
        assert await here.find(URL, free) is None, "the operator's bound, whatever the server said"
        await kept(here, "w", b"w")
    assert len(files(tmp_path)) == 2, "what is past its time goes with the next that is kept"


async def test_S9_what_its_server_can_be_asked_about_stays_for_the_operators_time(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with cache(tmp_path, clock=clock) as here:
        here.keep(URL, b"picture", 10.0, Validators(tag='"v1"'))
        await asyncio.gather(*here._tasks)
        clock.now += 30
        assert await here.find(URL, free) is None
        note = here.stale(URL)
        assert note is not None
    async with cache(tmp_path, clock=clock) as here:
        assert here.stale(URL) == note
        assert await here.confirmed(URL, note, 10.0, free) == b"picture"
        await asyncio.gather(*here._tasks)
        clock.now += 5
        assert await here.find(URL, free) == b"picture"
        clock.now += 56
        assert here.stale(URL) is None
        await kept(here, "w", b"w")
    assert len(files(tmp_path)) == 2, "it has gone"


async def test_S9_it_stays_within_its_size(tmp_path: Path) -> None:
    async with cache(tmp_path, max_bytes=50_000) as here:
        for index in range(12):
            await kept(here, f"u{index}", bytes([index]) * 10_000)
            assert sum(path.stat().st_size for path in files(tmp_path)) <= 50_000
        assert await here.find("u11", free) is not None
        assert await here.find("u0", free) is None
        await kept(here, "large", bytes(60_000))
        assert await here.find("large", free) is None
        assert await here.find("u11", free) is not None, "what cannot fit drives nothing out"
    async with cache(tmp_path, max_bytes=15_000) as here:
        assert here.nbytes <= 15_000
        assert len(files(tmp_path)) == 2, "a smaller bound is kept from the start on"
        assert await here.find("u11", free) is not None


@pytest.mark.parametrize("damage", [b"", b"pictura", b"picture and more"])
async def test_S9_damaged_bytes_are_never_served(tmp_path: Path, damage: bytes) -> None:
    async with cache(tmp_path) as here:
        await kept(here, URL, b"picture")
        (tmp_path / "thespis-media/contents" / sha256(b"picture").hexdigest()).write_bytes(damage)
        held: list[int] = []
        assert await here.find(URL, held.append) is None
        assert sum(held) == 0
        assert here.nbytes == 0
        await kept(here, URL, b"picture")
        assert await here.find(URL, free) == b"picture"


async def test_S9_a_link_in_the_place_of_a_content_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"picture")
    async with cache(tmp_path / "c") as here:
        await kept(here, URL, b"picture")
        content = tmp_path / "c/thespis-media/contents" / sha256(b"picture").hexdigest()
        content.unlink()
        content.symlink_to(tmp_path / "secret")
        assert await here.find(URL, free) is None


async def test_S9_what_is_half_written_or_foreign_goes_at_the_start(tmp_path: Path) -> None:
    async with cache(tmp_path) as here:
        await kept(here, URL, b"picture")
    notes, contents = tmp_path / "thespis-media/notes", tmp_path / "thespis-media/contents"
    for path in (
        notes / "x",
        notes / ("0" * 64),
        contents / ("1" * 64),
        contents / f"{'2' * 64}.part",
    ):
        path.write_bytes(b"{}")
    async with cache(tmp_path) as here:
        assert len(files(tmp_path)) == 2
        assert await here.find(URL, free) == b"picture"


async def test_S9_other_rules_find_nothing_of_these(tmp_path: Path) -> None:
    async with cache(tmp_path, rules=("private", "True")) as here:
        await kept(here, URL, b"internal")
    async with cache(tmp_path, rules=("private", "False")) as here:
        assert await here.find(URL, free) is None


async def test_S9_no_room_is_said_before_anything_is_read(tmp_path: Path) -> None:
    def full(delta: int) -> None:
        if delta > 0:
            raise MemoryError

    async with cache(tmp_path) as here:
        await kept(here, URL, b"picture")
        with pytest.raises(MemoryError):
            await here.find(URL, full)


async def test_S9_one_engine_per_folder(tmp_path: Path) -> None:
    async with cache(tmp_path):
        with pytest.raises(EngineError, match="another engine"):
            async with cache(tmp_path):
                pass


async def test_S9_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thespis-media").mkdir()
    os.chmod(tmp_path / "thespis-media", 0o777)
    with pytest.raises(EngineError, match="cannot be used"):
        async with cache(tmp_path):
            pass


async def test_S9_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EngineError, match="cannot be used"):
        async with cache(tmp_path / "file"):
            pass


async def test_S9_a_disk_that_fails_costs_nothing_but_the_copy(tmp_path: Path) -> None:
    async with cache(tmp_path) as here:
        contents = tmp_path / "thespis-media/contents"
        contents.rmdir()
        await kept(here, URL, b"picture")
        assert await here.find(URL, free) is None
        contents.mkdir(mode=0o700)
        await kept(here, URL, b"picture")
        assert await here.find(URL, free) == b"picture"


@pytest.mark.parametrize("room", [0, 1, 6, 7, 8, 50])
async def test_S9_a_disk_that_fills_during_a_write_keeps_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Before the bytes, within them, before their note, within it: nothing of it is found, and
    nothing takes room."""
    left = [room]

    def write(path: Path, data: bytes) -> None:
        part = path.with_name(f"{path.name}.part")
        if len(data) > left[0]:
            part.write_bytes(data[: left[0]])
            part.unlink()
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= len(data)
        path.write_bytes(data)

    async with cache(tmp_path) as here:
        with monkeypatch.context() as patch:
            patch.setattr("thespis.actors.fetcher.disk._write_whole", write)
            await kept(here, URL, b"picture")
        assert await here.find(URL, free) is None
        assert files(tmp_path) == []
        assert here.nbytes == 0
        await kept(here, URL, b"picture")
        assert await here.find(URL, free) == b"picture"


async def test_S9_a_disk_that_fills_keeps_what_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with cache(tmp_path) as here:
        await kept(here, URL, b"picture")
        with monkeypatch.context() as patch:
            patch.setattr("thespis.actors.fetcher.disk._write_whole", write)
            await kept(
                here, URL + "x", b"picture"
            )  # the same bytes under another name: only the note is new
        assert await here.find(URL, free) == b"picture"
        assert await here.find(URL + "x", free) is None


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder],
        capture_output=True,
        check=False,
    ).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_S9_a_real_disk_that_fills(small: Path) -> None:
    async with cache(small) as here:
        for number in range(12):
            await kept(here, f"{URL}{number}", bytes([number]) * 9_000)
        found = [await here.find(f"{URL}{number}", free) for number in range(12)]
        assert found[0] == bytes([0]) * 9_000
        assert found[-1] is None
        whole = [data for data in found if data is not None]
        assert sorted(
            path.stat().st_size for path in files(small) if path.parent.name == "contents"
        ) == [9_000] * len(whole)
        for path in files(small)[:3]:
            path.unlink()
        await kept(here, URL, b"picture")
        assert await here.find(URL, free) == b"picture"


async def test_S9_what_waits_to_be_written_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thespis.actors.fetcher.disk.BACKLOG_BYTES", 10)
    async with cache(tmp_path) as here:
        here.keep("u", b"x" * 20, 60.0)
        here.keep("v", b"y" * 20, 60.0)
        await asyncio.gather(*here._tasks)
        assert await here.find("u", free) is not None
        assert await here.find("v", free) is None
