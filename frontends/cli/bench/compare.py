"""`thespis bench compare`: the same work for two servers in turn, A B A B, and how many times the
first is better.

A machine changes from minute to minute; what holds is the ratio within one round. Shown is the
median of the rounds' ratios.
"""

import argparse
import asyncio
import contextlib
import os
import platform
import shlex
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ....protocol.errors import EngineError
from ..api import Api, ApiError
from . import cache, serve, stall
from .asking import add_server_arguments, add_size_argument
from .numbers import number
from .report import Cell, plot, progress, show, table

LINE = "two servers side by side, in turn: the same work, and the ratio of each figure"
WORK = ("text", "picture", "ttft", "stall-image", "stall-video")
START_SECONDS = 1200.0
"""A server that compiles its model at the start takes minutes."""
STOP_SECONDS = 60.0
PROBE_SECONDS = 0.5
SIDES = 2
ENDED = 128 + signal.SIGTERM
"""As a shell has it."""
T = TypeVar("T")


class Side(NamedTuple):
    name: str
    base_url: str
    model: str | None
    command: str | None


class Turn(NamedTuple):
    """One side's work in one round."""

    cells: tuple[Cell, ...]
    load: float
    """Processes that ran or wanted to, on the whole machine, in the minute before."""


class Row(NamedTuple):
    """One figure of both sides over all rounds."""

    name: str
    unit: str
    first: float
    second: float
    ratio: float
    """How many times the first is better; the median of the rounds'."""
    ratios: tuple[float, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base-url",
        action="append",
        required=True,
        metavar="URL",
        help="of a server; give it twice",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="model to ask there (default: its first)",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="TEXT",
        help="what it is called (default: its address)",
    )
    parser.add_argument(
        "--command",
        dest="commands",
        action="append",
        default=[],
        metavar="CMD",
        help="starts that server for each of its turns, and is ended after it, so that one is up "
        "at a time; give it twice",
    )
    parser.add_argument(
        "--work",
        default=",".join(WORK),
        metavar="KIND,KIND",
        help="what both do (default: %(default)s, which is all)",
    )
    parser.add_argument(
        "--rounds",
        type=number(1),
        default=2,
        metavar="N",
        help="turns of each side (default: %(default)s)",
    )
    add_size_argument(parser, 336)
    serve.add_load_arguments(parser)
    add_server_arguments(parser, one=False)


def run(given: argparse.Namespace) -> int:
    import json

    import uvloop

    sides = sides_of(given)
    try:
        turns = uvloop.run(_in_order(measure(given, sides)))
    except asyncio.CancelledError:
        return ENDED
    found = rows(turns)
    if given.json:
        print(json.dumps(report(sides, turns, found), indent=2))
    else:
        print(comparison(sides, found))
        here, loads = machine(), ", ".join(show(turn.load) for mine in turns for turn in mine)
        print(f"\n{here['processor']}, {here['cores']} cores; load before each turn: {loads}")
    if given.plot:
        plot(
            Path(given.plot),
            {side.name: _medians(mine) for side, mine in zip(sides, turns, strict=True)},
        )
    return 0


async def _in_order(work: Coroutine[Any, Any, T]) -> T:
    """What has started servers ends them, whichever signal ends it: nobody else knows of them."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    for signum in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, task.cancel)
    return await work


def sides_of(given: argparse.Namespace) -> tuple[Side, Side]:
    """Raises ValueError for anything that is not given once for each side."""
    if len(given.base_url) != SIDES:
        raise ValueError(f"compare takes --base-url twice, got {len(given.base_url)}.")
    for flag, values in (("model", given.model), ("name", given.name), ("command", given.commands)):
        if len(values) not in (0, SIDES):
            raise ValueError(
                f"--{flag} is given for both servers, in the order of --base-url, or not at all."
            )
    given.work = [kind.strip() for kind in given.work.split(",")]
    strange = sorted(set(given.work) - set(WORK))
    if strange:
        raise ValueError(f"--work knows {', '.join(WORK)}; got {', '.join(map(repr, strange))}.")
    if len(set(given.name or range(SIDES))) < SIDES:
        raise ValueError("--name: the two servers need different names.")

    names = given.name or (
        given.base_url if len(set(given.base_url)) == SIDES else ["first", "second"]
    )
    models, commands = given.model or [None] * SIDES, given.commands or [None] * SIDES
    first, second = (
        Side(*each) for each in zip(names, given.base_url, models, commands, strict=True)
    )
    return first, second


async def measure(given: argparse.Namespace, sides: Sequence[Side]) -> tuple[list[Turn], ...]:
    """The turns of each side. Raises ApiError where a server refuses, EngineError where one does
    not start."""
    turns: tuple[list[Turn], ...] = tuple([] for _ in sides)
    # Both get the same work, unless they are one server: what it has seen once it knows.
    own_work = given.rounds if sides[0].base_url == sides[1].base_url else 0
    with progress(given.rounds * len(sides), "turns") as bar:
        for nth in range(given.rounds):
            for side, mine in zip(sides, turns, strict=True):
                async with _up(side, given.api_key):
                    mine.append(
                        await one_turn(
                            given, side, given.seed + nth + (own_work if side is sides[1] else 0)
                        )
                    )
                bar.update()
    return turns


async def one_turn(given: argparse.Namespace, side: Side, seed: int) -> Turn:
    load = os.getloadavg()[0]
    cells: list[Cell] = []
    quiet = {"base_url": side.base_url, "model": side.model, "seed": seed, "json": True}
    for work in given.work:
        asked = argparse.Namespace(**{**vars(given), **quiet})
        match work:
            case "text" | "picture":
                asked.media = ("image",) if work == "picture" else None
                asked.seconds, asked.repeat = 0.0, 0.0
                cells += [
                    cell for level in await serve.measure(asked) for cell in level.cells(work)
                ]
            case "ttft":
                asked.requests = given.requests or 8
                cells += (await cache.measure(asked)).cells()
            case _:
                asked.heavy = work.removeprefix("stall-")
                asked.size = HEAVY[asked.heavy]
                asked.items, asked.text_streams, asked.stream_tokens, asked.rounds = 4, 4, 400, 1
                cells += (await stall.measure(asked)).cells(work)
    return Turn(tuple(cells), load)


HEAVY = {"image": 1024, "video": 336}
"""Pixels a side."""


@contextlib.asynccontextmanager
async def _up(side: Side, api_key: str | None) -> AsyncIterator[None]:
    """The server, started for this turn if it has a command. Raises EngineError where it ends
    before it answers."""
    if side.command is None:
        yield
        return
    async with Api(side.base_url, api_key, connections=1) as api:
        if await _answers_now(api):
            raise EngineError(
                f"Something answers at {side.base_url} already: end it, or leave --command out."
            )
    words = shlex.split(side.command)
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdout=sys.stderr, stderr=sys.stderr, start_new_session=True
        )
    except OSError as error:
        raise EngineError(
            f"The command of {side.name} cannot be started: {error.strerror or words[0]}."
        ) from None
    try:
        await _answers(side, api_key, process)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _answers(side: Side, api_key: str | None, process: asyncio.subprocess.Process) -> None:
    begin = time.monotonic()
    async with Api(side.base_url, api_key, connections=1) as api:
        while time.monotonic() - begin < START_SECONDS:
            if process.returncode is not None:
                raise EngineError(
                    f"The command of {side.name} ended with {process.returncode} before it "
                    f"answered."
                )
            if await _answers_now(api):
                return
            await asyncio.sleep(
                PROBE_SECONDS
            )  # servers of others announce themselves in no common way
    raise EngineError(
        f"{side.name} did not answer at {side.base_url} within {START_SECONDS:.0f} s."
    )


async def _answers_now(api: Api) -> bool:
    try:
        await api.model()
    except ApiError:
        return False
    return True


def rows(turns: Sequence[Sequence[Turn]]) -> list[Row]:
    """Cells of both sides by name and unit, in the order in which they were measured."""
    first, second = ([{(c.name, c.unit): c for c in turn.cells} for turn in mine] for mine in turns)
    found = []
    for key, cell in first[0].items():
        mine, theirs = [turn[key].value for turn in first], [turn[key].value for turn in second]
        ratios = tuple(times_better(cell, a, b) for a, b in zip(mine, theirs, strict=True))
        found.append(
            Row(
                *key,
                statistics.median(mine),
                statistics.median(theirs),
                statistics.median(ratios),
                ratios,
            )
        )
    return found


def times_better(cell: Cell, mine: float, theirs: float) -> float:
    """0 where a figure is missing: a ratio of nothing says nothing."""
    if not mine or not theirs:
        return 0.0
    return mine / theirs if cell.more_is_better else theirs / mine


def _medians(turns: Sequence[Turn]) -> list[Cell]:
    return [
        Cell(cells[0].name, statistics.median(cell.value for cell in cells), cells[0].unit)
        for cells in zip(*(turn.cells for turn in turns), strict=True)
    ]


def comparison(sides: Sequence[Side], found: Sequence[Row]) -> str:
    """The ratio of the rounds' middle, and the smallest and largest: what differs from round to
    round is no result."""
    head = ("", sides[0].name, sides[1].name, "unit", "times better", "from", "to")
    ratios = (
        [f"{ratio:.2f}" for ratio in (row.ratio, min(row.ratios), max(row.ratios))] for row in found
    )
    rows = zip(found, ratios, strict=True)
    return table(
        head,
        ((row.name, show(row.first), show(row.second), row.unit, *of_row) for row, of_row in rows),
    )


def report(
    sides: Sequence[Side], turns: Sequence[Sequence[Turn]], found: Sequence[Row]
) -> dict[str, Any]:
    return {
        "machine": machine(),
        "sides": [side.name for side in sides],
        "load": [[turn.load for turn in mine] for mine in turns],
        "rows": [row._asdict() for row in found],
    }


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
    return {"processor": name, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release()}
