"""Where the kernels are kept, and what happens where they cannot be."""

import ctypes
import os
import stat
import time
from pathlib import Path
from threading import Thread

import pytest

from thespis.gpu_runtime.native import build, library
from thespis.gpu_runtime.native.build import LEVELS, Unavailable, best_level, library_path

from ...helpers.kernels import asks_the_compiler, needs_kernels

pytestmark = [needs_kernels, asks_the_compiler]
QUICK = ("-O0",)
"""The tests ask where the file lands, not how fast it is."""


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "thespis" / "kernels"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernels' own source says nothing more: it takes the compiler seconds."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "answer.cpp").write_text(
        'extern "C" __attribute__((visibility("default"))) int answer() { return 42; }'
    )
    monkeypatch.setattr(build, "SOURCES", tmp_path / "source")


@pytest.mark.usefixtures("small")
def test_several_at_once_build_one_file_that_only_its_owner_reaches(cache_home: Path) -> None:
    found: list[Path] = []
    threads = [
        Thread(target=lambda: found.append(library_path(LEVELS[-1], QUICK))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert [*cache_home.iterdir()] == [found[0]] == [found[1]]
    assert stat.S_IMODE(cache_home.stat().st_mode) == 0o700
    before = found[0].stat().st_mtime_ns
    assert library_path(LEVELS[-1], QUICK).stat().st_mtime_ns == before, "built again"


@pytest.mark.usefixtures("small")
def test_a_file_that_is_not_whole_is_built_again(cache_home: Path) -> None:
    """As after a full disk, or a lost power: of most of them the loader dies, at every start."""
    target = library_path(LEVELS[-1], QUICK)
    whole = target.read_bytes()
    for broken in (b"", whole[:8192], whole[:8192].ljust(len(whole), b"\0"), whole[:-1]):
        target.write_bytes(broken)
        assert library_path(LEVELS[-1], QUICK) == target
        assert len(target.read_bytes()) == len(whole)
    target.unlink()
    target.symlink_to(cache_home / "nowhere")
    assert ctypes.CDLL(str(library_path(LEVELS[-1], QUICK))).answer() == 42
    assert not target.is_symlink()


@pytest.mark.usefixtures("small")
def test_what_killed_builds_have_left_goes_with_the_next_one(cache_home: Path) -> None:
    for name, seconds in (("build-old", build.ABANDONED_SECONDS + 60), ("build-now", 0.0)):
        left = cache_home / name
        left.mkdir(parents=True)
        (left / "half.o").write_bytes(b"half")
        os.utime(left, (time.time() - seconds,) * 2)
    cache_home.chmod(0o700)
    target = library_path(LEVELS[-1], QUICK)
    assert {*cache_home.iterdir()} == {target, cache_home / "build-now"}, "that one may be at work"


@pytest.mark.parametrize("level", LEVELS[:2], ids=lambda level: level.name)
def test_levels_that_this_processor_may_lack_compile(level: build.Level, cache_home: Path) -> None:
    assert library_path(level, QUICK).stat().st_size > 10_000


def test_a_folder_that_others_may_write_to_is_not_used(cache_home: Path) -> None:
    cache_home.mkdir(parents=True)
    cache_home.chmod(0o770)
    with pytest.raises(Unavailable, match="this user alone"):
        library_path(LEVELS[-1], QUICK)
    cache_home.rmdir()
    cache_home.symlink_to(cache_home.parent)
    with pytest.raises(Unavailable, match="this user alone"):
        library_path(LEVELS[-1], QUICK)


def test_without_a_compiler_one_line_says_so(
    cache_home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(cache_home))
    assert library._load.__wrapped__() is None
    assert [record.getMessage() for record in caplog.records] == [
        "torch's own operations are used in place of native kernels: there is no g++"
    ]


@pytest.mark.usefixtures("small")
def test_a_compiler_that_fails_or_hangs_leaves_nothing_behind(
    cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable, match="g\\+\\+ fails: "):
        library_path(LEVELS[-1], ("--nonsense",))
    fake = cache_home.parent.parent / "bin"
    fake.mkdir()
    (fake / "g++").write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\nsleep 100 & wait\n')
    (fake / "g++").chmod(0o700)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    monkeypatch.setattr(build, "BUILD_SECONDS", 0.3)
    with pytest.raises(Unavailable, match="took longer"):
        library_path(LEVELS[-1], QUICK)
    assert [*cache_home.iterdir()] == []


def test_a_processor_without_the_instructions_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "processor_features", lambda: frozenset({"sse2"}))
    with pytest.raises(Unavailable, match="AVX2"):
        best_level()
    monkeypatch.setattr(build, "processor_features", lambda: LEVELS[0].features | {"more"})
    assert best_level() == LEVELS[0]
