"""The linear layers that sentence-transformers puts behind the pooling, with their weights."""

from pathlib import Path

import torch
from torch import nn

from ...protocol.errors import EngineError
from ...protocol.requests.pooling import Dense
from ..weights.files import StoredTensors

WEIGHT, BIAS = "linear.weight", "linear.bias"


class DenseLayer(nn.Module):
    """One of them, in float32."""

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, activation: nn.Module
    ) -> None:
        super().__init__()
        self._weight, self._bias, self._activation = weight, bias, activation

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """float32 [rows, inputs] to [rows, outputs]."""
        made: torch.Tensor = self._activation(
            nn.functional.linear(states, self._weight, self._bias)
        )
        return made


def check_dense(folder: str, layer: Dense) -> None:
    """By the header of its file. Raises EngineError for weights that are missing or of another
    shape."""
    _open(folder, layer)


def load_dense(folder: str, layer: Dense, device: torch.device) -> DenseLayer:
    """Raises EngineError for weights that are missing or of another shape."""
    stored = _open(folder, layer)
    weight, bias = (
        stored.read(name, torch.float32).to(device=device, dtype=torch.float32, copy=True)
        if wanted
        else None
        for name, wanted in ((WEIGHT, True), (BIAS, layer.bias))
    )
    assert weight is not None
    return DenseLayer(weight, bias, getattr(nn, layer.activation)())


def _open(folder: str, layer: Dense) -> StoredTensors:
    name = Path(folder).name
    stored = StoredTensors(str(Path(folder) / layer.path))
    wanted = {WEIGHT: [layer.outputs, layer.inputs]} | (
        {BIAS: [layer.outputs]} if layer.bias else {}
    )
    for key, shape in wanted.items():
        if key not in stored.names():
            raise EngineError(
                f"The checkpoint {name!r} lacks {key} in {layer.path}/*.safetensors: is it whole?"
            )
        if stored.shape(key) != shape:
            raise EngineError(
                f"{key} in {layer.path} of the checkpoint {name!r} is {stored.shape(key)}; its "
                f"config.json asks for {shape}."
            )
    return stored
