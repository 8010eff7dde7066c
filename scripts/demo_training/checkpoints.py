"""Where a training stands: weights, optimiser and progress in one safetensors file, so that no
pickle is written or read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

WEIGHTS, OPTIMISER = "weights.", "optimiser."


def save(
    path: Path,
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Mapping[str, Any],
) -> None:
    """Written beside and renamed, so that a kill in the middle leaves the last checkpoint whole.
    `progress` must be JSON."""
    state = optimiser.state_dict()
    tensors = {f"{WEIGHTS}{name}": tensor for name, tensor in network.state_dict().items()}
    for index, entry in state["state"].items():
        tensors |= {f"{OPTIMISER}{index}.{name}": tensor for name, tensor in entry.items()}
    told = {"groups": json.dumps(state["param_groups"]), "progress": json.dumps(progress)}
    new = path.with_suffix(".new")
    save_file(
        {name: tensor.clone().contiguous() for name, tensor in tensors.items()}, new, told
    )  # clones: some are tied
    new.rename(path)


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    return _tensors(path, WEIGHTS)


def resume(
    path: Path, network: torch.nn.Module, optimiser: torch.optim.Optimizer
) -> dict[str, Any] | None:
    """Bring both to where they were; returns the progress, None where nothing has been saved
    yet."""
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        told = file.metadata()
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _tensors(path, OPTIMISER).items():
        index, _, kind = name.partition(".")
        state.setdefault(int(index), {})[kind] = tensor
    network.load_state_dict(load_weights(path))
    optimiser.load_state_dict({"state": state, "param_groups": json.loads(told["groups"])})
    progress: dict[str, Any] = json.loads(told["progress"])
    return progress


def _tensors(path: Path, prefix: str) -> dict[str, torch.Tensor]:
    with safe_open(path, "pt") as file:
        return {
            name.removeprefix(prefix): file.get_tensor(name)
            for name in file.offset_keys()
            if name.startswith(prefix)
        }
