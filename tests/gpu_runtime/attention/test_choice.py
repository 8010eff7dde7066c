"""On which kernels attention runs: those made for a device, tried there; otherwise torch's own
operations, and one line."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from thespis.gpu_runtime.attention import tried, tried_on_device
from thespis.gpu_runtime.attention.choice import usable_kernels
from thespis.gpu_runtime.native.build import Unavailable
from thespis.gpu_runtime.native.library import allow_kernels
from thespis.gpu_runtime.triton import library
from thespis.gpu_runtime.triton.attention import TritonKernels

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
BEGINNING = "torch's own operations are used in place of Triton's kernels: "


class Silent:
    """Kernels that can be launched, and write zeros where their answer goes."""

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda out, *_, **__: out.zero_()


def kernels(kernel: Any) -> TritonKernels:
    module: Any = SimpleNamespace(decode_kernel=kernel, merge_kernel=kernel, prefill_kernel=kernel)
    return TritonKernels(module)


def raising(error: Exception) -> Any:
    def load() -> TritonKernels:
        raise error

    return load


def test_a_cpu_has_those_of_its_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.dtype] = []
    monkeypatch.setattr(tried, "usable_native_kernels", asked.append)
    assert usable_kernels(torch.float32, CPU) is None
    assert asked == [torch.float32]


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_where_none_are_allowed_none_are_looked_for(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []
    for module, name in (
        (tried, "usable_native_kernels"),
        (tried_on_device, "usable_triton_kernels"),
    ):
        monkeypatch.setattr(module, name, lambda *given: asked.append(given))
    with allow_kernels(False):
        assert usable_kernels(torch.float16, device) is None
    assert not asked
    usable_kernels(torch.float16, device)
    assert asked, "allowed again"


@pytest.mark.parametrize(
    ("capability", "dtype", "made_for"),
    [
        ((7, 5), torch.float16, False),
        ((8, 0), torch.bfloat16, True),
        ((8, 9), torch.float16, True),
        ((9, 0), torch.bfloat16, True),
        ((9, 0), torch.float32, False),
    ],
)
def test_old_processors_and_float32_keep_torch(
    capability: tuple[int, int], dtype: torch.dtype, made_for: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    assert library.is_made_for(dtype, CUDA) is made_for
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert not library.is_made_for(dtype, CUDA)


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (raising(ModuleNotFoundError("No module named 'triton'")), "it is not installed"),
        (
            raising(Unavailable("there is no folder to keep them in")),
            "there is no folder to keep them in",
        ),
        (raising(RuntimeError("0 active drivers")), "they cannot be run"),
        (lambda: kernels(Silent()), "here they give other numbers"),
    ],
)
def test_what_cannot_be_believed_is_left_out(
    load: Any, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tried_on_device, "is_made_for", lambda dtype, device: True)
    monkeypatch.setattr(tried_on_device, "load_triton_kernels", load)
    assert tried_on_device.usable_triton_kernels(torch.bfloat16, CPU) is None
    assert caplog.messages == [BEGINNING + said]


def test_what_is_not_made_for_the_device_is_not_looked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tried_on_device, "load_triton_kernels", raising(AssertionError()))
    assert tried_on_device.usable_triton_kernels(torch.bfloat16, CPU) is None
    assert caplog.messages == []
