"""What a CUDA graph does, of torch's operations on a CPU: each is written down with the tensors
that it got, and run again on just these. A number that Python looked at, or that came from the
host, stays what it was.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from thespis.gpu_runtime.steps.repeated import Work

READS = {
    "aten::_local_scalar_dense",
    "aten::item",
    "aten::nonzero",
    "aten::equal",
    "aten::is_nonzero",
}
"""By which the host waits for the device; no graph can hold them."""


class Recorder:
    """Stands for `CudaGraphs`. Its `kernel` are kernels whose launches are recorded, too."""

    def __init__(self) -> None:
        self.repeated = 0
        self._calls: list[Callable[[], object]] | None = None

    def __call__(self, work: Work) -> tuple[torch.Tensor, Callable[[], object]]:
        calls: list[Callable[[], object]] = []
        self._calls = calls
        try:
            with _Operations(calls):
                out = work()
        finally:
            self._calls = None

        def again() -> None:
            self.repeated += 1
            for call in calls:
                call()

        return out, again

    def kernel(self, own: Any) -> Any:
        return _Kernel(self, own)

    def launch(self, call: Callable[[], object]) -> None:
        with _disable_current_modes():
            call()
        if self._calls is not None:
            self._calls.append(call)


class _Kernel:
    def __init__(self, recorder: Recorder, own: Any) -> None:
        self._recorder, self._own = recorder, own

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *given, **form: self._recorder.launch(
            partial(self._own[grid], *given, **form)
        )


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, calls: list[Callable[[], object]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls = calls

    def __torch_dispatch__(
        self, operation: Any, types: Any, given: Any = (), named: Any = None
    ) -> Any:
        named = named or {}
        assert operation._schema.name not in READS, f"{operation} makes the host wait"
        out = operation(*given, **named)
        self._calls.append(partial(_again, operation, given, named, out))
        return out


def _again(operation: Any, given: Any, named: Any, out: Any) -> None:
    for was, now in zip(tree_leaves(out), tree_leaves(operation(*given, **named)), strict=True):
        if isinstance(was, torch.Tensor) and was.data_ptr() != now.data_ptr():
            was.copy_(now)
