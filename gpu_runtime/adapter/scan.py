"""The scan of the first Mamba, from a state: transformers' own begins with zeros whatever its cache
holds, so that a prompt could not be computed in pieces. And how functions of transformers that a
layer calls are replaced, for that layer alone.
"""

import inspect
from types import FunctionType, MethodType
from typing import Any

import torch
from torch.nn import functional as F

SCAN, UPDATE = "mamba_selective_scan", "mamba2_selective_state_update"
"""What transformers calls the scan of the first Mamba, and of the second that of one token,
wherever they stand."""
AT_ONCE = 64
"""Tokens whose states are in memory together: each is as large as a sequence's."""


def called(module: Any, name: str) -> Any:
    """The function of that name which the forward of `module` calls; None: it calls none."""
    return inspect.unwrap(type(module).forward).__globals__.get(name)


def replace(module: Any, name: str, function: Any) -> None:
    """Have the forward of this one `module` call `function` in the place of transformers' of that
    name."""
    own = inspect.unwrap(type(module).forward)
    names = {**own.__globals__, name: function}
    made = FunctionType(own.__code__, names, own.__name__, own.__defaults__, own.__closure__)
    module.forward = MethodType(made, module)


def selective_scan(
    state: torch.Tensor,
    hidden: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor,
    z: torch.Tensor,
    delta_bias: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`state` [rows, channels, width] float32; `hidden`, `dt` and the gate `z` [rows, channels,
    tokens]; `A` [channels, width]; `B` and `C` [rows, width, tokens]; `D` and `delta_bias`
    [channels].

    What comes out [rows, channels, tokens], and the state behind the last token.
    """
    steps = F.softplus(dt + delta_bias.to(dt.dtype)[..., None]).permute(2, 0, 1)[..., None].float()
    inputs = hidden.permute(2, 0, 1)[..., None].float()
    B, C = (each.permute(2, 0, 1) for each in (B, C))
    out: list[torch.Tensor] = []
    for first in range(0, len(steps), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        kept = torch.exp(steps[part] * A)
        # [tokens, rows, channels, width]: what each adds.
        states = steps[part] * B[part, :, None].float() * inputs[part]
        for token in range(len(states)):
            state = states[token].addcmul_(kept[token], state)
        out.append((states.to(hidden.dtype) @ C[part, ..., None])[..., 0])
    found = torch.cat(out).permute(1, 2, 0)
    return (found + hidden * D[:, None]) * F.silu(z), state
