"""A process that puts hostile cases: the number of each on a line of its input, what became of it on a line of its output.

It yields the processor to everything else: drawing a body of 250 MB must not look like a server that stands still.
"""

import argparse
import asyncio
import os
import sys

import msgspec

from .draw import draw
from .judge import Outcome, judge
from .wire import fire

NICE = 10


async def put(seed: int, number: int, biggest: int, port: int) -> Outcome:
    kind, shot = draw(seed, number, biggest)
    return judge(number, kind, shot, await fire(port, shot))


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--seed", "--biggest", "--port"):
        parser.add_argument(name, type=int, required=True)
    given = parser.parse_args()
    os.nice(NICE)
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            outcome = runner.run(put(given.seed, int(line), given.biggest, given.port))
            sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
