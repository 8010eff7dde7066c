"""The zygote: imports torch and transformers once, then forks the processes that need them.

One JSON line in (a `Launch`), one line out (role, epoch, pid), and an empty line when the imports
are done. It opens no socket, loop, thread or device: a forked child may then start any of them.
Each child is forked twice, so that it becomes the director's own child.

An empty line in is the order for a standby, answered with `standby` and its pid: a copy of the
zygote, with all that it has imported and costs next to no memory. It holds the same two pipes, and
reads from them when the zygote has ended.
"""

import gc
import importlib
import logging
import os
import random
import select
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from ..kernel.launch import (
    Launch,
    die_with_parent,
    enter,
    ignore_group_signals,
    settle,
)
from ..kernel.logs import configure_logging

log = logging.getLogger(__name__)

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "GOMP_SPINCOUNT": "20000",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "TOKENIZERS_PARALLELISM": "false",
}
"""Set before the zygote is exec'ed: a single-threaded import, result buffers that are kept instead
of unmapped, and threads that spin for a tenth of a millisecond and not for several while they wait
for one whose core another process has taken."""


def main(director: int, model: str, preload: list[str]) -> None:
    import setproctitle

    ignore_group_signals()
    die_with_parent()
    if os.getppid() != director:
        sys.exit(1)
    setproctitle.setproctitle("thespis zygote")
    configure_logging("zygote")
    orders = os.dup(0)
    answers = os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)  # an import that prints must not look like an answer
    gc.disable()  # imports make a million objects and next to no garbage
    load(preload, model)
    settle()
    gc.enable()
    os.write(answers, b"\n")
    serve(orders, answers, director)


def load(modules: list[str], model: str) -> None:
    """Import what the children will need; a module that has a `preload` has it called with the
    model's folder. What fails is left for the child that needs it, which can say so."""
    for name in modules:
        try:
            module = importlib.import_module(name)
            if hasattr(module, "preload"):
                module.preload(model)
        except Exception as error:
            log.warning("%s could not be loaded ahead (%s: %s)", name, type(error).__name__, error)


def serve(orders: int, answers: int, director: int) -> None:
    """Fork until the orders end."""
    decoder = msgspec.json.Decoder(Launch)
    for line in lines(orders):
        if line:
            launch = decoder.decode(line)
            pid = fork_twice(partial(become, launch), (orders, answers))
            os.write(answers, f"{launch.role} {launch.epoch} {pid}\n".encode())
            continue
        own_end = os.pidfd_open(os.getpid())
        pid = fork_twice(partial(stand_by, own_end, orders, answers, director), ())
        os.close(own_end)
        os.write(answers, f"standby {pid}\n".encode())


def lines(orders: int) -> Iterator[bytes]:
    """A read takes all that is there, orders are written in one piece: a successor finds lines."""
    while data := os.read(orders, 1 << 16):
        yield from data.removesuffix(b"\n").split(b"\n")


def stand_by(predecessor: int, orders: int, answers: int, director: int) -> None:
    """Be the zygote when `predecessor` (a pidfd) has ended."""
    import setproctitle

    die_with_parent()
    if os.getppid() != director:
        os._exit(1)
    setproctitle.setproctitle("thespis zygote-standby")
    poller = select.poll()
    poller.register(predecessor, select.POLLIN)
    poller.poll()
    os.close(predecessor)
    setproctitle.setproctitle("thespis zygote")
    try:
        serve(orders, answers, director)
    except BrokenPipeError:
        log.info("the director does not listen any more")
    finally:
        os._exit(0)


def fork_twice(live: Callable[[], None], private: tuple[int, ...]) -> int:
    """A grandchild that runs `live`, which never returns; its pid once the director is its parent.
    `private` are not for it."""
    pid_in, pid_out = os.pipe()
    go_in, go_out = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            child = os.fork()
            if child == 0:
                for fd in (*private, pid_in, pid_out, go_out):
                    os.close(fd)
                # Until the middle has been reaped: then the director is the parent.
                os.read(go_in, 1)
                os.close(go_in)
                live()
            os.write(pid_out, str(child).encode())
        finally:
            os._exit(0)
    os.close(pid_out)
    os.close(go_in)
    pid = int(os.read(pid_in, 32))
    os.waitpid(middle, 0)
    os.close(pid_in)
    os.close(go_out)
    return pid


def become(launch: Launch) -> None:
    """The grandchild's life; never returns."""
    code = 1
    try:
        reseed()
        enter(launch)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def reseed() -> None:
    """Forks share the parent's generators; each child draws a state of its own."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
