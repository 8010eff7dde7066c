"""A stop as systemd does it: SIGTERM (then SIGCONT, and SIGHUP where that is set) to the main
process or to every process of the unit; after TimeoutStopSec, SIGKILL to all that are left."""

import asyncio
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from thespis.actors.director.run_dir import sweep_stale_runs
from thespis.frontends.engine import start_engine
from thespis.protocol.config.engine import EngineConfig

from ..helpers.engines import assert_nothing_left, processes_of, segments_of
from ..helpers.torchless import TORCHLESS, played_by
from .test_drain import ENDLESS, begin, thespis_serve

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


def send(pids: Iterable[int], *numbers: signal.Signals) -> None:
    for number in numbers:
        for pid in pids:
            with suppress(
                ProcessLookupError
            ):  # a unit's list of processes is read before it is used
                os.kill(pid, number)


async def test_a_signal_to_every_process_of_the_unit_drains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """KillMode=control-group, systemd's default, with SendSIGHUP. KillMode=mixed signals the main
    process alone: see `test_drain`."""
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.01")
    async with (
        thespis_serve(torchless=True) as (url, run_dir, process),
        aiohttp.ClientSession(url) as http,
    ):
        director = int((run_dir / "lock").read_text())
        body = {**ENDLESS, "max_tokens": 300}
        streams = [await begin(http, "/v1/completions", body) for _ in range(6)]
        unit = [process.pid, *processes_of(director)]
        assert len(unit) == 13, (
            "the command, the director and its janitor, two zygotes, eight roles"
        )
        send(unit, signal.SIGTERM, signal.SIGCONT, signal.SIGHUP)
        async with asyncio.timeout(60):
            await asyncio.gather(*(task for _, task in streams))
            assert await process.wait() == 0
    assert [(len(events.tokens), events.error, events.done) for events, _ in streams] == [
        (300, None, True)
    ] * len(streams)
    await asyncio.to_thread(assert_nothing_left, director, run_dir)


def test_what_a_kill_of_the_whole_unit_leaves_the_next_start_removes() -> None:
    """Nobody outlives TimeoutStopSec, not even the janitor: files stay, and no process."""
    handle = start_engine(EngineConfig(), **played_by(TORCHLESS))
    director, run_dir = handle.process.pid, handle.run_dir
    left = Path(f"/dev/shm/thespis-{run_dir.name}-fetcher.1-1")
    left.write_bytes(b"an arena")
    # Stopped first: a director that sees its janitor stopped makes another, whom no list has.
    send([director], signal.SIGSTOP)
    others = [pid for pid in processes_of(director) if pid != director]
    # A control group is killed at once. Here the director is the last: its end leaves its janitor's
    # process group an orphan, which the kernel wakes from its stop, and the janitor would sweep.
    send(others, signal.SIGSTOP, signal.SIGKILL)
    send([director], signal.SIGKILL)
    assert handle.process.wait(20) == -signal.SIGKILL
    handle.stop()
    assert run_dir.exists()
    assert segments_of(run_dir)
    assert run_dir in sweep_stale_runs(run_dir.parent)
    assert_nothing_left(director, run_dir)
