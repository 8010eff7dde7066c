"""A process that puts hostile cases: the number of each on a line of its input, what became of it
on a line of its output.

It yields the processor to everything else: drawing a body of 250 MB must not look like a server
that stands still.
"""

import argparse
import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from .draw import draw
from .judge import Outcome, judge
from .wire import fire

NICE = 10
READY = b"ready\n"
"""The first line of its output: it has imported what it needs."""
DRAWN = b"drawn\n"
"""Its answer to a case that is only to be drawn: the number follows a minus."""


async def put(seed: int, number: int, biggest: int, port: int) -> Outcome:
    kind, shot = draw(seed, number, biggest)
    return judge(number, kind, shot, await fire(port, shot))


def step_back() -> None:
    """Behind the engine: callers have machines of their own. Where the kernel shares processors
    between sessions first, the session has a niceness of its own. A processor with nothing but idle
    work then counts as free, as it would be: else the kernel leaves two processes of the engine on
    one processor, and the other to a caller."""
    os.nice(NICE)
    with suppress(OSError):  # a kernel without sessions
        os.setsid()
        Path("/proc/self/autogroup").write_text(str(NICE))
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--seed", "--biggest", "--port"):
        parser.add_argument(name, type=int, required=True)
    given = parser.parse_args()
    step_back()
    _say(READY)
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            if line.startswith("-"):
                draw(given.seed, int(line[1:]), given.biggest)
                _say(DRAWN)
            else:
                outcome = runner.run(put(given.seed, int(line), given.biggest, given.port))
                _say(msgspec.json.encode(outcome) + b"\n")


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
