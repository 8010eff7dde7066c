"""The zygote: imports torch and transformers once, then forks the processes that need them.

One JSON line in (a `Launch`), one line out (the pid), and an empty line when the imports are done. It opens no socket, loop,
thread or device: a forked child may then start any of them. Each child is forked twice, so that it becomes the director's
own child.
"""

import gc
import importlib
import logging
import os
import random
import signal
import sys
from typing import BinaryIO

import msgspec

from ..launch import Launch, configure_logging, die_with_parent, enter

log = logging.getLogger(__name__)

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "TOKENIZERS_PARALLELISM": "false",
}
"""Set before the zygote is exec'ed: a single-threaded import, and result buffers that are kept instead of unmapped."""


def main(preload: list[str], director: int) -> None:
    import setproctitle

    die_with_parent()
    if os.getppid() != director:
        sys.exit(1)
    setproctitle.setproctitle("thespis zygote")
    configure_logging("zygote")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = os.fdopen(os.dup(0), "rb")
    answers = os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)  # an import that prints must not look like an answer
    load(preload)
    gc.collect()
    gc.freeze()
    serve(orders, answers)


def load(modules: list[str]) -> None:
    """Import what the children will need. One that fails is left for the child that needs it, which can say so."""
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception:
            log.exception("%s could not be loaded ahead", name)


def serve(orders: BinaryIO, answers: int) -> None:
    """Fork until the orders end."""
    decoder = msgspec.json.Decoder(Launch)
    os.write(answers, b"\n")
    for line in orders:
        pid = fork_twice(decoder.decode(line), (orders.fileno(), answers))
        os.write(answers, f"{pid}\n".encode())


def fork_twice(launch: Launch, private: tuple[int, ...]) -> int:
    """A grandchild that runs `launch`; returns its pid once the director is its parent. `private` are not for it."""
    pid_in, pid_out = os.pipe()
    go_in, go_out = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            child = os.fork()
            if child == 0:
                for fd in (*private, pid_in, pid_out, go_out):
                    os.close(fd)
                os.read(go_in, 1)  # until the middle has been reaped: then the director is the parent
                os.close(go_in)
                become(launch)
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
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        reseed()
        enter(launch)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            log.error("%s", end.code)
    except BaseException:
        log.exception("%s ends", launch.role)
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
    main(sys.argv[2:], int(sys.argv[1]))
