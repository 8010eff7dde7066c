"""All tests, in parts beside each other, which are forked from one process: what imports torch,
transformers and the clients takes seven seconds of CPU time, once and not for each part.

`python -P -m thespis.tests.suite PART...`; a part is folders of `tests/` with commas between them,
without those that another part names, `others` for those that none names, or `types`. What a part
says is printed when it has ended.
"""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from typing import IO

import pytest

from thespis.actors.director import zygote
from thespis.protocol.checkpoint.folder import demo_model

from .helpers import forkserver

TYPES, OTHERS = "types", "others"
PRELOAD = (
    *forkserver.PRELOAD,
    "thespis",
    "anthropic",
    "hypothesis.stateful",
    "jsonschema",
    "openai",
    "playwright.sync_api",
    "psutil",
    "pypdfium2",
    "soundfile",
    "av",
    "pytest_asyncio.plugin",
    "torch.fx.experimental.symbolic_shapes",
)
"""What most parts import; nothing that starts a thread."""
OPTIONS = (
    "-q",
    "-p",
    "no:langsmith_plugin",
    "--durations=10",
    # What is there already has no asserts that anybody would read.
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)


def main(parts: Sequence[str]) -> int:
    """How many parts have failed."""
    # A background command ignores Ctrl-C, and so would the programs whose Ctrl-C is tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    load()
    waiting, failed = [*parts], 0
    running: dict[int, tuple[str, float, IO[bytes]]] = {}
    lanes = len(os.sched_getaffinity(0)) + 2  # engines wait as much as they compute
    while waiting or running:
        while waiting and len(running) < lanes:
            part, file = waiting.pop(0), tempfile.TemporaryFile()  # noqa: SIM115
            running[begin(part, parts, file)] = part, time.monotonic(), file
        pid, status = os.wait()
        part, began, log = running.pop(pid)
        failed += status != 0
        print(
            f"=== {part}: {'FAILED' if status else 'passed'}, {time.monotonic() - began:.0f} s",
            flush=True,
        )
        log.seek(0)
        sys.stdout.buffer.write(log.read())
        sys.stdout.buffer.flush()
        log.close()
    return failed


def load() -> None:
    """One thread, so that a fork has all there is."""
    zygote.load([*PRELOAD], str(demo_model()))
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, f"{len(threads)} threads, of which a fork has one"
    gc.collect()
    gc.freeze()


def begin(part: str, parts: Sequence[str], log: IO[bytes]) -> int:
    """Returns its pid."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            code = run(part, parts)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return pid


def run(part: str, parts: Sequence[str]) -> int:
    if part == TYPES:
        return subprocess.run(["scripts/dev", "types"], check=False).returncode
    with forkserver.beside():
        return int(pytest.main([*OPTIONS, *chosen(part, parts)]))


def chosen(part: str, parts: Sequence[str]) -> list[str]:
    """As pytest's arguments."""
    own = [""] if part == OTHERS else [f"{folder}/" for folder in part.split(",")]
    elsewhere = [folder for other in parts if other != part for folder in other.split(",")]
    inside = [folder for folder in elsewhere if folder.startswith(tuple(own))]
    return [f"tests/{folder}" for folder in own] + [f"--ignore=tests/{one}" for one in inside]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
