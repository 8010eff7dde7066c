"""Whose doing a death was."""

import signal
from pathlib import Path

import pytest

from thespis.actors.director.exit_cause import MemoryKills, is_outside


@pytest.mark.parametrize(
    ("status", "outside"),
    [
        (signal.SIGKILL, True),
        (signal.SIGTERM, True),
        (signal.SIGSEGV, False),
        (signal.SIGABRT, False),
        (signal.SIGBUS, False),
        (1 << 8, False),
        (0, False),
        (None, False),
    ],
)
def test_only_a_signal_that_nobody_sends_himself_comes_from_outside(
    status: int | None, outside: bool
) -> None:
    assert is_outside(status, silent=False, stopped=False, out_of_memory=False) is outside


def test_want_of_memory_and_a_hang_are_its_own_doing_but_a_stop_is_not() -> None:
    assert not is_outside(signal.SIGKILL, silent=False, stopped=False, out_of_memory=True)
    assert not is_outside(signal.SIGKILL, silent=True, stopped=False, out_of_memory=False)
    assert is_outside(signal.SIGKILL, silent=True, stopped=True, out_of_memory=False)


def test_kills_for_memory_are_counted(tmp_path: Path) -> None:
    table = tmp_path / "vmstat"
    table.write_text("nr_free 1\noom_kill 3\n")
    kills = MemoryKills(table)
    assert not kills.since_last()
    table.write_text("nr_free 1\noom_kill 4\n")
    assert kills.since_last()
    assert not kills.since_last()
    assert not MemoryKills(tmp_path / "absent").since_last()
