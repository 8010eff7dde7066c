"""What the campaign does to processes, on processes of no importance."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from thespis.scripts.stress.chaos.blows import (
    CGROUPS,
    hit,
    janitor_of,
    limited,
    run_out_of_memory,
    spinning,
)

GREEDY = (
    "import time\nheld = []\nprint('thespis', flush=True)\nwhile True:\n    held.append(bytes(1 "
    "<< 20)); time.sleep(0.01)"
)


@pytest.fixture
def greedy() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that takes a megabyte a hundred times a second; its command line names us."""
    process = subprocess.Popen([sys.executable, "-S", "-c", GREEDY], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"thespis\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


async def test_the_kernel_kills_who_wants_more_memory_than_none(
    greedy: "subprocess.Popen[bytes]",
) -> None:
    reaping = asyncio.create_task(asyncio.to_thread(greedy.wait))
    by_kernel = await run_out_of_memory(greedy.pid)
    assert await reaping == -signal.SIGKILL
    assert (
        by_kernel
        or not os.access(CGROUPS / "memory", os.W_OK)
        or not (CGROUPS / "memory" / "cgroup.procs").exists()
    )
    assert not list(CGROUPS.glob(f"**/thespis-chaos-{os.getpid()}-*"))


def test_a_limit_is_for_a_while(greedy: "subprocess.Popen[bytes]") -> None:
    before = resource.prlimit(greedy.pid, resource.RLIMIT_NOFILE)
    with limited(greedy.pid, resource.RLIMIT_NOFILE, 3):
        assert resource.prlimit(greedy.pid, resource.RLIMIT_NOFILE)[0] == 3
    assert resource.prlimit(greedy.pid, resource.RLIMIT_NOFILE) == before


async def test_whoever_wants_the_cores_is_gone_afterwards() -> None:
    def children() -> int:
        return len(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())

    before = children()
    async with spinning(3):
        assert children() == before + 3
    assert children() == before


def test_only_processes_of_an_engine_are_hit() -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        with pytest.raises(AssertionError, match="no engine process"):
            hit(stranger.pid)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert janitor_of(stranger.pid) is None
