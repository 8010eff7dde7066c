"""What this machine has, found out without torch, and settings that nothing on it could follow."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ...protocol.config.engine import EngineConfig
from ...protocol.config.roles import RunnerConfig
from ...protocol.config.sizes import GIB, weights_in_memory
from ...protocol.errors import EngineError

DEVICES = Path("/dev")
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
CPU_FACTS = Path("/proc/cpuinfo")
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""How the kernel names units for it: of x86, and of ARM."""
_CACHES = ("encoder_cache_gb", "mm_processor_cache_gb", "max_media_gb")
"""Bounds of memory taken as it is needed. The defaults fit: a small machine never fills them."""


class Machine(NamedTuple):
    no_cuda: str | None
    """Why there is no GPU to compute on; None: there is one."""
    memory: int
    """Bytes that processes here may take at the most."""
    bfloat16: bool = False
    """The CPU has units for products of bfloat16."""


def this_machine() -> Machine:
    return Machine(no_cuda(), _memory(), _bfloat16())


def no_cuda() -> str | None:
    """Why there is no GPU to compute on; None: there is one."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU"
    if not any(DEVICES.glob("nvidia[0-9]*")):
        return "this machine shows no NVIDIA GPU"
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return "torch is not installed"
    version = Path(spec.origin).with_name("version.py")
    if not version.exists() or "cuda: Optional[str] = None" in version.read_text():
        return "the installed torch is a build without CUDA"
    return None


def refuse_impossible(config: EngineConfig, machine: Machine) -> None:
    """Raises EngineError, one sentence, for settings that nothing on this machine could follow."""
    if config.device == "cuda" and machine.no_cuda is not None:
        raise EngineError(
            f"device='cuda' is not possible here: {machine.no_cuda}; choose device='cpu', or "
            f"leave it out."
        )
    for name in ("allowed_local_media_path", "media_cache", "encoder_cache_dir"):
        _check_folder(name, getattr(config, name), must_exist=name == "allowed_local_media_path")
    for name in _CACHES:
        value = getattr(config, name)
        if value * GIB > machine.memory and value > getattr(EngineConfig(), name):
            raise EngineError(
                f"{name}={value:g} is more than this machine's memory of "
                f"{machine.memory / GIB:.1f} GiB."
            )


def refuse_too_large(config: EngineConfig, runner: RunnerConfig, memory: int) -> None:
    """The KV cache and the weights are taken at once and whole. Raises EngineError where they are
    more than `memory` bytes."""
    if runner.device != "cpu" or runner.room is None:
        return
    itemsize = 4 if runner.dtype == "float32" else 2
    cache = runner.room.nbytes(runner.model, itemsize, config.block_size)
    weights = weights_in_memory(runner.model, itemsize, runner.quantization)
    if weights > memory:
        advice = "choose a smaller model"
        if itemsize == 4 and weights < 2 * memory:
            advice = "choose dtype='bfloat16'"
        elif (
            runner.quantization is None
            and weights_in_memory(runner.model, itemsize, "int8") < memory
        ):
            advice = "choose quantization='int8'"
        text = (
            f"The weights take {_gib(weights)} as {runner.dtype}, and this machine has "
            f"{_gib(memory)} of memory: {advice}."
        )
        raise EngineError(text)
    if cache + weights > memory:
        given = (
            "lower kv_cache_gb"
            if config.kv_cache_gb is not None
            else "lower block_size, max_model_len or max_num_seqs"
        )
        raise EngineError(
            f"The KV cache takes {_gib(cache)} beside weights of {_gib(weights)}, and this "
            f"machine has {_gib(memory)} of "
            f"memory: {given}."
        )


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def _check_folder(name: str, given: str | None, must_exist: bool) -> None:
    if given is None:
        return
    path = Path(given).expanduser()
    if path.exists() and not path.is_dir():
        raise EngineError(f"{name}: {given!r} is no folder.")
    if must_exist and not path.exists():
        raise EngineError(f"{name}: there is no folder {given!r}.")


def _bfloat16() -> bool:
    """False where the kernel does not say: such products would be slower than those of float32."""
    try:
        text = CPU_FACTS.read_text("ascii", "replace")
    except OSError:
        return False
    lines = (line.partition(":") for line in text.splitlines())
    listed = next((value for name, _, value in lines if name.strip() in ("flags", "Features")), "")
    return not _BFLOAT16.isdisjoint(listed.split())


def _memory() -> int:
    """Of the machine, or of the container that this process is in."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for place in CGROUP_LIMITS:
        try:
            limits.append(int(Path(place).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(limits)
