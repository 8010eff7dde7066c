"""Plays any role of the engine with a sampling profiler in it: SIGUSR2 starts it, a second one ends
it and writes what it saw.

A timer of the process's own CPU time interrupts every few milliseconds; the Python frames there say
what the time went into.
"""

import json
import os
import signal
import threading
from importlib import import_module
from pathlib import Path
from types import FrameType

from thespis.actors.director.config import MODULES
from thespis.actors.kernel.launch import Launch
from thespis.frontends.engine import HTTP_MODULE
from thespis.protocol.topology import HTTP, kind_of

FOLDER = "THESPIS_PROFILE_FOLDER"
PERIOD = 0.002
WHOLE = (
    "frontends/client/ledger.py",
    "frontends/client/delivery.py",
    "actors/kernel/tombstones.py",
    "actors/kernel/link.py",
    "actors/scheduler/blame.py",
)
"""Files that exist for the sake of surviving: every sample below one of their functions counts."""
ITSELF = ("protocol/channel.py:accept", "protocol/channel.py:fence", "protocol/channel.py:send")
"""Functions whose own lines number and fence messages; what they call (the codec, zmq) is needed
without it."""


class Sampler:
    """Counts samples of the main thread, where all of a role's work is done; heartbeats have a
    thread of their own."""

    def __init__(self, report: Path) -> None:
        self._report = report
        self._began: tuple[float, float] | None = None
        """CPU seconds of the process and of its heartbeats, at the start."""
        self._samples = 0
        self._surviving = 0

    def toggle(self, number: int, frame: FrameType | None) -> None:
        if self._began is None:
            self._began = _cpu(), _heart()
            signal.setitimer(signal.ITIMER_PROF, PERIOD, PERIOD)
            return
        signal.setitimer(signal.ITIMER_PROF, 0)
        cpu, heart = _cpu() - self._began[0], _heart() - self._began[1]
        share = self._surviving / max(1, self._samples)
        done = self._report.with_suffix(".part")
        done.write_text(
            json.dumps({"cpu": cpu, "samples": self._samples, "surviving": share * cpu + heart})
        )
        done.rename(self._report)

    def sample(self, number: int, frame: FrameType | None) -> None:
        self._samples += 1
        self._surviving += surviving(frame)


def _cpu() -> float:
    return sum(os.times()[:2])


def _heart() -> float:
    threads = [thread.native_id for thread in threading.enumerate() if thread.name == "heartbeat"]
    return sum(
        int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[0]) / 1e9
        for thread in threads
    )


def surviving(frame: FrameType | None) -> bool:
    """Whether this moment belongs to the ledger, to fencing or to heartbeats."""
    innermost = True
    while frame is not None:
        file, function = frame.f_code.co_filename, frame.f_code.co_name
        if file.endswith(WHOLE) or (innermost and f"{_tail(file)}:{function}" in ITSELF):
            return True
        innermost = False
        frame = frame.f_back
    return False


def _tail(file: str) -> str:
    return "/".join(Path(file).parts[-2:])


def main(launch: Launch) -> None:
    sampler = Sampler(Path(os.environ[FOLDER]) / f"{launch.role}.json")
    signal.signal(signal.SIGPROF, sampler.sample)
    signal.signal(signal.SIGUSR2, sampler.toggle)
    module = HTTP_MODULE if launch.role == HTTP else MODULES[kind_of(launch.role)]
    import_module(module).main(launch)
