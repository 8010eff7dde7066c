"""Making processes where the machine gives no process."""

import os
from typing import Any

import pytest

from thespis.actors.director import processes
from thespis.actors.director.processes import ProcessWatcher, Zygote


async def test_a_zygote_that_cannot_be_made_leaves_no_files_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> int:
        raise BlockingIOError

    monkeypatch.setattr(processes, "spawn", fail)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(BlockingIOError):
        Zygote([], lambda role, epoch, pid: None, lambda pid: None)
    assert os.listdir("/proc/self/fd") == before


async def test_a_child_that_cannot_be_watched_is_killed_and_reaped(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(pid: int) -> int:
        raise OSError("no file")

    monkeypatch.setattr(os, "pidfd_open", fail)
    child = os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)
    with pytest.raises(OSError, match="no file"):
        ProcessWatcher().watch(child, lambda pid, status: None)
    with pytest.raises(ChildProcessError):
        os.waitpid(child, os.WNOHANG)
