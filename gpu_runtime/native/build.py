"""The kernels' shared object: built by this machine's compiler at first use, and kept in a folder
that is the user's alone.

It has a plain C interface and knows neither Python's nor torch's, so one file serves every version
of both.
"""

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ...protocol.cache import cache_home

SOURCES = Path(__file__).parent
BUILD_SECONDS = 300.0
"""A build takes ten of one core; where it has not been done by then, it is given up."""
ABANDONED_SECONDS = 12 * BUILD_SECONDS
"""What a build has left is nobody's by then: it was killed, or the machine went down."""
SEAL_BYTES = hashlib.sha256().digest_size
"""Behind what the compiler made, where no loader looks."""
FLAGS = (
    "-std=c++17",
    "-O3",
    "-fopenmp",
    "-shared",
    "-fPIC",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Wno-psabi",
)


class Level(NamedTuple):
    """What a body of the kernels asks of a processor."""

    name: str
    features: frozenset[str]
    """As the kernel of the system names them: what the processor has and the system lets programs
    use."""
    flags: tuple[str, ...]


_AVX2 = ("avx2", "fma", "f16c")
_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni")


def _level(name: str, *features: str) -> Level:
    flags = tuple("-m" + feature.replace("_", "") for feature in features)
    return Level(name, frozenset(features), flags)


LEVELS = (
    _level("avx512-bf16", *_AVX2, *_AVX512, "avx512_bf16"),
    _level("avx512", *_AVX2, *_AVX512),
    _level("avx2", *_AVX2),
)
"""The best first."""


class Unavailable(Exception):
    """There are no kernels on this machine; the text says why."""


def best_level() -> Level:
    """Raises Unavailable for a processor that none is made for."""
    has = processor_features()
    for level in LEVELS:
        if level.features <= has:
            return level
    raise Unavailable("they are made for x86-64 processors with AVX2")


def processor_features() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def library_path(level: Level, extra: tuple[str, ...] = ()) -> Path:
    """The kernels of this source for `level`, built where they are not there yet. Several processes
    may ask at once.

    Raises Unavailable.
    """
    folder = private_folder("kernels")
    command = ["g++", *FLAGS, *level.flags, *extra]
    target = folder / f"kernels-{_digest(command)}.so"
    if not _is_whole(target):
        _build(command, target)
    return target


def _is_whole(path: Path) -> bool:
    """A file of this user's with its own digest at its end: of one that a full disk or a lost power
    cut short, the loader dies."""
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return False
        data = path.read_bytes()
    except OSError:
        return False
    return data[-SEAL_BYTES:] == hashlib.sha256(data[:-SEAL_BYTES]).digest()


def private_folder(name: str) -> Path:
    """`$XDG_CACHE_HOME/thespis/NAME`: what another user could write there would run in this
    process. Raises Unavailable."""
    try:
        folder = cache_home() / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except (OSError, RuntimeError) as error:
        raise Unavailable(f"there is no folder to keep them in: {error}") from error
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not is_own or stat.S_IMODE(found.st_mode) & 0o077:
        raise Unavailable(
            f"{folder} is not a folder of this user alone: remove it, or make its mode 0700"
        )
    return folder


def _digest(command: list[str]) -> str:
    """Of everything that the file depends on."""
    asked = [command[0], "--version"]
    try:
        version = subprocess.run(asked, capture_output=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable("there is no g++") from error
    whole = hashlib.sha256(version + "\0".join(command).encode())
    for source in sorted(SOURCES.glob("*.[ch]*")):
        whole.update(source.name.encode() + source.read_bytes())
    return whole.hexdigest()[:32]


def _build(command: list[str], target: Path) -> None:
    """Into a file of its own name, which then takes the place of `target` in one go."""
    _sweep(target.parent)
    try:
        with tempfile.TemporaryDirectory(prefix="build-", dir=target.parent) as folder:
            made = Path(folder) / target.name
            _run([*command, "-o", str(made), *map(str, sorted(SOURCES.glob("*.cpp")))], folder)
            made.write_bytes((data := made.read_bytes()) + hashlib.sha256(data).digest())
            made.replace(target)
    except OSError as error:
        raise Unavailable(f"they cannot be built: {error}") from error


def _sweep(folder: Path) -> None:
    """Removes what builds have left that could not tidy up."""
    for left in folder.glob("build-*"):
        with suppress(OSError):  # another one sweeps, too
            if time.time() - left.lstat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _run(command: list[str], folder: str) -> None:
    """The compiler and all its children end with it; its temporary files lie in `folder`."""
    environment = {**os.environ, "TMPDIR": folder, "LC_ALL": "C"}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        process_group=0,
    ) as process:
        try:
            _, said = process.communicate(timeout=BUILD_SECONDS)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise Unavailable(f"g++ took longer than {BUILD_SECONDS:.0f} s") from error
            raise
    if process.returncode:
        first = next(iter(said.decode(errors="replace").splitlines()), "")
        raise Unavailable(f"g++ fails: {first}")
