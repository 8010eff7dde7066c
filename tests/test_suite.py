"""The suite's parts: every test is in one, and one that has no folder of its own is in `others`."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from . import suite
from .suite import OTHERS, TYPES, chosen

ROOT = Path(__file__).resolve().parents[1]


def parts() -> list[str]:
    (line,) = [
        line
        for line in (ROOT / "scripts" / "test").read_text().splitlines()
        if "thespis.tests.suite" in line
    ]
    return line.partition("thespis.tests.suite")[2].split()


def test_the_parts_are_folders_and_what_is_in_none_of_them() -> None:
    named = [folder for part in parts() for folder in part.split(",")]
    assert {OTHERS, TYPES} <= set(named)
    assert len(named) == len(set(named))
    assert all((ROOT / "tests" / name).is_dir() for name in set(named) - {OTHERS, TYPES})


def test_a_folder_in_another_is_in_its_own_part_alone() -> None:
    those = ["a,b", "a/c", OTHERS]
    assert chosen("a,b", those) == ["tests/a/", "tests/b/", "--ignore=tests/a/c"]
    assert chosen("a/c", those) == ["tests/a/c/"]
    ignored = [f"--ignore=tests/{name}" for name in ("a", "b", "a/c")]
    assert chosen(OTHERS, those) == ["tests/", *ignored]


def test_a_part_that_cannot_run_says_why(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It failed without a word."""

    def run(part: str, parts: Sequence[str]) -> int:
        raise RuntimeError(f"no {part}")

    monkeypatch.setattr(suite, "run", run)
    with tempfile.TemporaryFile() as log, capfd.disabled():
        pid = suite.begin("spec", ["spec"], log)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
        log.seek(0)
        assert log.read().endswith(b"RuntimeError: no spec\n")
