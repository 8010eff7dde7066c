"""What code finds that reads the weight of a layer which holds it in another layout."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_map_only


class StandIn(torch.Tensor):
    """Shape, dtype and device of a weight, in no memory. The numbers are unpacked where an
    operation takes it, and kept from then on: some models ask weights for their dtype at each step,
    others compute with them (Mamba's `dt_proj.weight`)."""

    _unpack: Callable[[], torch.Tensor]
    _numbers: torch.Tensor | None

    @staticmethod
    def __new__(
        cls, unpack: Callable[[], torch.Tensor], shape: Sequence[int], dtype: torch.dtype
    ) -> "StandIn":
        """`unpack` gives the weight; on the CPU."""
        made = torch.Tensor._make_wrapper_subclass(
            cls, torch.Size(shape), dtype=dtype, device=torch.device("cpu")
        )
        made._unpack, made._numbers = unpack, None
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        args, kwargs = tree_map_only(cls, cls.numbers, (tuple(args), dict(kwargs or {})))
        return func(*args, **kwargs)

    def numbers(self) -> torch.Tensor:
        if self._numbers is None:
            self._numbers = self._unpack()
        return self._numbers
