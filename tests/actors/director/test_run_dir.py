import errno
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from thespis.actors.director.run_dir import (
    base_folder,
    is_running,
    make_run_dir,
    sweep_stale_runs,
    take_lock,
)
from thespis.protocol.errors import EngineError
from thespis.protocol.memory.blobs import Arena, segment_prefix


def run_in(base: Path, name: str) -> Path:
    run_dir = base / f"thespis-{name}{os.getpid()}"
    run_dir.mkdir()
    return run_dir


def segments(run_dir: Path) -> list[Path]:
    return list(Path("/dev/shm").glob(f"{segment_prefix(run_dir)}*"))


def test_a_run_directory_is_private() -> None:
    run_dir = make_run_dir()
    assert run_dir.stat().st_mode & 0o777 == 0o700
    assert not is_running(run_dir)
    run_dir.rmdir()


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EMFILE]
)
def test_where_no_run_directory_can_be_made_one_sentence_says_why(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(**given: object) -> str:
        raise OSError(number, os.strerror(number), "/somewhere")

    monkeypatch.setattr(tempfile, "mkdtemp", fail)
    with pytest.raises(EngineError, match=os.strerror(number)) as refused:
        make_run_dir()
    assert "TMPDIR" in str(refused.value)


def test_without_any_temporary_folder_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_get_default_tempdir", lambda: os.stat("/nowhere/at/all"))
    with pytest.raises(EngineError, match="TMPDIR"):
        make_run_dir()


@pytest.mark.parametrize(
    ("counted", "left", "made"), [(9, 0, False), (99, 63, False), (99, 64, True), (0, 0, True)]
)
def test_a_folder_without_room_for_the_files_of_a_run_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, counted: int, left: int, made: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **given: str(run_dir))
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_files=counted, f_favail=left))
    if made:
        assert make_run_dir().is_dir()
    else:
        with pytest.raises(EngineError, match=f"room for {left} more files"):
            make_run_dir()
        assert not run_dir.exists()


def test_a_long_temporary_folder_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    assert base_folder() == Path("/tmp")


def test_a_lock_is_held_once_and_names_its_holder(tmp_path: Path) -> None:
    lock = take_lock(tmp_path)
    assert is_running(tmp_path)
    assert (tmp_path / "lock").read_text() == str(os.getpid())
    with pytest.raises(BlockingIOError):
        take_lock(tmp_path)
    os.close(lock)
    assert not is_running(tmp_path)


def test_only_runs_whose_lock_is_free_are_swept(tmp_path: Path) -> None:
    dead, living, new = run_in(tmp_path, "dead"), run_in(tmp_path, "live"), run_in(tmp_path, "new")
    os.close(take_lock(dead))
    lock = take_lock(living)
    arenas = [Arena(run_dir, "scheduler.1", 1 << 30) for run_dir in (dead, living)]
    for arena in arenas:
        arena.put(b"left")
    assert sweep_stale_runs(tmp_path) == [dead]
    assert not dead.exists()
    assert not segments(dead)
    assert living.exists()
    assert len(segments(living)) == 1
    assert new.exists(), "its director is about to start"
    os.close(lock)
    assert sweep_stale_runs(tmp_path) == [living]
    assert not segments(living)
