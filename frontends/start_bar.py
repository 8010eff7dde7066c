"""How far a start is, as a bar at a terminal: weights take minutes, of which the log tells."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EVERY_SECONDS = 0.5
WAITING = "{desc} [{elapsed}]"
READING = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} MiB [{elapsed}<{remaining}]"
_SAID = re.compile(
    r'(?:"role":"(?P<role>[^"]+)".*"event":"|(?P<name>\S+) )weights: '
    r"(?:\d+ %, (?P<done>\d+) of (?P<total>\d+) MiB|all are read)"
)
"""In a log of JSON and in one of text."""


def watched() -> bool:
    """Somebody sees stderr: at a terminal, or in a notebook, whose stderr is none."""
    return sys.stderr is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules)


class Weights:
    """What the log's lines say of the weights, over all processes that read some. Pure."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[int, int]] = {}
        self._rest = ""

    def read(self, text: str) -> None:
        """The next piece of the log."""
        *lines, self._rest = (self._rest + text).split("\n")
        self._rest = self._rest[-4096:]
        for line in lines:
            if found := _SAID.search(line):
                name = found["role"] or found["name"]
                if found["done"]:
                    self._parts[name] = int(found["done"]), int(found["total"])
                elif name in self._parts:
                    self._parts[name] = (self._parts[name][1],) * 2

    @property
    def done(self) -> int:
        return sum(done for done, _ in self._parts.values())

    @property
    def total(self) -> int:
        """0: nobody has said anything."""
        return sum(total for _, total in self._parts.values())


@contextmanager
def start_bar(log: Path | None) -> Iterator[None]:
    """Meanwhile, where somebody watches. `log`: None where it is at the terminal itself."""
    if log is None or not watched():
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(log, ended), name="start-bar", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(log: Path, ended: threading.Event) -> None:
    from tqdm import tqdm

    weights = Weights()
    with (
        log.open("rb") as file,
        tqdm(
            total=0,
            desc="starting",
            bar_format=WAITING,
            file=sys.stderr,
            leave=False,
            dynamic_ncols=True,
        ) as bar,
    ):
        while not ended.wait(EVERY_SECONDS):
            weights.read(file.read(1 << 20).decode("utf-8", "replace"))
            if weights.total:
                bar.desc, bar.bar_format = "weights", READING
                bar.total, bar.n = weights.total, weights.done
            bar.refresh()
