"""Settings that no process could follow are refused before one starts; those that a machine can
follow are not."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from thespis.actors.director import machine
from thespis.actors.director.machine import Machine, refuse_impossible, refuse_too_large
from thespis.protocol.config.division import divide
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.roles import RunnerConfig
from thespis.protocol.config.sizes import GIB
from thespis.protocol.errors import EngineError
from thespis.protocol.facts import ModelFacts

from ...helpers.facts import DEMO

SMALL = Machine(no_cuda="this machine shows no NVIDIA GPU", memory=2 * GIB)
MODEL = DEMO


def check(here: Machine = SMALL, model: ModelFacts = MODEL, **settings: Any) -> None:
    """As the face and then the director look at them."""
    config = EngineConfig(**settings)
    refuse_impossible(config, here)
    runner = divide(config, model, here.no_cuda is None, memory=here.memory).roles["gpu-runner"]
    assert isinstance(runner, RunnerConfig)
    refuse_too_large(config, runner, here.memory)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"device": "cuda"}, "no NVIDIA GPU; choose device='cpu'"),
        ({"kv_cache_gb": 1000}, "The KV cache takes 1000.0 GiB"),
        ({"kv_cache_gb": 2.0}, "lower kv_cache_gb"),
        ({"encoder_cache_gb": 3}, "encoder_cache_gb=3"),
        ({"mm_processor_cache_gb": 64}, "mm_processor_cache_gb=64"),
        ({"max_media_gb": 500}, "max_media_gb=500"),
        ({"allowed_local_media_path": "/no/such/folder"}, "no folder '/no/such/folder'"),
        ({"allowed_local_media_path": "/dev/null"}, "'/dev/null' is no folder"),
        ({"media_cache": "/dev/null"}, "'/dev/null' is no folder"),
    ],
)
def test_the_impossible_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(EngineError) as refused:
        check(**settings)
    assert words in str(refused.value)


def test_a_default_cache_of_blocks_that_are_too_large_is_refused_too() -> None:
    with pytest.raises(EngineError, match="lower block_size"):
        check(Machine(no_cuda=None, memory=GIB // 8), block_size=60_000, device="cpu")


@pytest.mark.parametrize(
    ("said", "has"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 amx_tile\nbugs\t: none\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("BogoMIPS\t: 50\nFeatures\t: fp asimd i8mm bf16 dgh\n", True),
        ("Features\t: fp asimd\n", False),
        ("model name\t: a CPU with bf16\n", False),
        (None, False),
    ],
)
def test_what_the_kernel_says_of_units_for_bfloat16(
    said: str | None, has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "cpuinfo"
    if said is not None:
        place.write_text(said)
    monkeypatch.setattr(machine, "CPU_FACTS", place)
    assert machine.this_machine().bfloat16 is has


@pytest.mark.parametrize(
    "settings",
    [{}, {"kv_cache_gb": 1.5}, {"mm_processor_cache_gb": 4.0}, {"mm_processor_cache_gb": 0}],
)
def test_what_a_small_machine_can_do_is_not(settings: dict[str, Any]) -> None:
    check(**settings)


def test_weights_in_eight_bits_are_for_a_cpu() -> None:
    check(quantization="int8")
    for device in ("auto", "cuda"):
        with pytest.raises(
            EngineError,
            match="quantization='int8' is for a CPU, and this model would run on a GPU: choose",
        ):
            check(Machine(no_cuda=None, memory=2 * GIB), quantization="int8", device=device)
    check(Machine(no_cuda=None, memory=2 * GIB), quantization="int8", device="cpu")


def test_a_gpu_holds_its_own_cache() -> None:
    check(Machine(no_cuda=None, memory=2 * GIB), kv_cache_gb=60.0, device="cuda")


def test_weights_beyond_the_memory_are_refused_with_a_way_out() -> None:
    """Counted as the numbers that they are in memory, in however few bits they are stored."""
    large, huge = (
        msgspec.structs.replace(MODEL, parameters=size * GIB // 4, quantization="awq")
        for size in (3, 30)
    )
    for model, words in ((large, "dtype='bfloat16'"), (huge, "a smaller model")):
        with pytest.raises(EngineError) as refused:
            check(model=model)
        assert words in str(refused.value)
    check(model=large, dtype="bfloat16")


def test_weights_in_eight_bits_are_counted_as_such() -> None:
    """On a machine of 2 GiB: 0.7 billion numbers, of which all but a few are held so."""
    model = msgspec.structs.replace(MODEL, parameters=7 * GIB // 10, held_parameters=6 * GIB // 10)
    check(model=model, quantization="int8")
    with pytest.raises(EngineError, match=r"The weights take 2\.8 GiB as float32"):
        check(model=model)
    whole = msgspec.structs.replace(MODEL, parameters=3 * GIB // 2, held_parameters=3 * GIB // 2)
    with pytest.raises(EngineError, match="choose quantization='int8'"):
        check(model=whole)


def test_why_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES" in str(machine.no_cuda())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(machine, "DEVICES", tmp_path)
    assert "no NVIDIA GPU" in str(machine.no_cuda())
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    assert "not installed" in str(machine.no_cuda())


def test_a_containers_limit_is_its_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("1000000\n")
    monkeypatch.setattr(machine, "CGROUP_LIMITS", (str(tmp_path / "none"), str(tmp_path / "limit")))
    assert machine.this_machine().memory == 1_000_000
    (tmp_path / "limit").write_text("max\n")
    assert machine.this_machine().memory > 1_000_000
