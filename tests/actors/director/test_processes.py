"""Making processes where the machine gives no process."""

import asyncio
import errno
import os
from typing import Any

import pytest

from thespis.actors.director import processes
from thespis.actors.director.processes import ProcessWatcher, Zygote, is_child


async def test_a_zygote_that_cannot_be_made_leaves_no_files_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> int:
        raise BlockingIOError

    monkeypatch.setattr(processes, "spawn", fail)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(BlockingIOError):
        Zygote("", [], lambda role, epoch, pid: None, lambda pid: None)
    assert os.listdir("/proc/self/fd") == before


async def test_a_child_that_cannot_be_watched_is_killed_and_reaped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(pid: int) -> int:
        raise OSError("no file")

    monkeypatch.setattr(os, "pidfd_open", fail)
    child = os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)
    with pytest.raises(OSError, match="no file"):
        ProcessWatcher().watch(child, lambda pid, status: None)
    with pytest.raises(ChildProcessError):
        os.waitpid(child, os.WNOHANG)


async def test_a_child_that_the_loop_does_not_take_is_killed_and_reaped_and_leaves_no_file_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no watch")

    watcher = ProcessWatcher()
    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", fail)
    child = os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="no watch"):
        watcher.watch(child, lambda pid, status: None)
    assert os.listdir("/proc/self/fd") == before
    assert not is_child(child)


async def test_a_zygote_is_made_last_so_that_nothing_can_fail_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no watch")

    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", fail)
    monkeypatch.setattr(processes, "spawn", lambda *_, **__: pytest.fail("a zygote was made"))
    with pytest.raises(OSError, match="no watch"):
        Zygote("", [], lambda role, epoch, pid: None, lambda pid: None)


async def test_children_that_nobody_watches_are_reaped_and_those_that_are_watched_are_not() -> None:
    watcher = ProcessWatcher()
    ended: list[int | None] = []
    stranger = os.posix_spawn("/bin/true", ["true"], os.environ)
    os.waitid(os.P_PID, stranger, os.WEXITED | os.WNOWAIT)
    watcher.reap_strangers()
    assert not is_child(stranger)
    child = os.posix_spawn("/bin/false", ["false"], os.environ)
    watcher.watch(child, lambda pid, status: ended.append(status))
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    watcher.reap_strangers()
    while not ended:
        await asyncio.sleep(0.01)
    assert ended == [1 << 8]
    assert not watcher.children
