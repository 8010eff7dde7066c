"""Whose doing a death was."""

import signal
from pathlib import Path

import pytest

from thespis.actors.director.exit_cause import RECENT_SECONDS, MemoryKills, is_outside, kill_counter


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


def test_a_kill_for_memory_explains_one_death_soon_after_it(tmp_path: Path) -> None:
    """One of long ago, a neighbour's perhaps, says nothing of who dies now."""
    table = tmp_path / "vmstat"
    table.write_text("nr_free 1\noom_kill 3\n")
    kills = MemoryKills(table, 0.0)
    assert not kills.explain(1.0)
    table.write_text("nr_free 1\noom_kill 4\n")
    assert kills.explain(2.0)
    assert not kills.explain(2.1)
    table.write_text("nr_free 1\noom_kill 6\n")
    assert [kills.explain(3.0) for _ in range(3)] == [True, True, False]
    table.write_text("nr_free 1\noom_kill 7\n")
    kills.look(10.0)
    assert not kills.explain(10.0 + RECENT_SECONDS + 1.0)
    assert not MemoryKills(tmp_path / "absent", 0.0).explain(1.0)


def test_kills_are_counted_in_our_own_group_where_it_has_a_counter(tmp_path: Path) -> None:
    own, group = tmp_path / "cgroup", tmp_path / "fs" / "a.slice" / "b"
    own.write_text("1:name=systemd:/x\n0::/a.slice/b\n")
    assert kill_counter(tmp_path / "fs", own) == Path("/proc/vmstat")
    group.mkdir(parents=True)
    (group / "memory.events").write_text("low 0\noom 1\noom_kill 2\noom_group_kill 0\n")
    events = kill_counter(tmp_path / "fs", own)
    assert events == group / "memory.events"
    kills = MemoryKills(events, 0.0)
    (group / "memory.events").write_text("low 0\noom 1\noom_kill 3\noom_group_kill 0\n")
    assert kills.explain(0.1)
    assert kill_counter(tmp_path / "fs", tmp_path / "absent") == Path("/proc/vmstat")
