"""The linear layers that sentence-transformers puts behind the pooling, with their weights."""

from pathlib import Path

import torch
from torch import nn

from ...protocol.errors import EngineError
from ...protocol.requests.pooling import Dense
from ..weights.files import StoredTensors

WEIGHT, BIAS = "linear.weight", "linear.bias"


def load_dense(folder: str, layer: Dense, device: torch.device) -> nn.Module:
    """In float32: [rows, inputs] to [rows, outputs]. Raises EngineError as `open_dense`."""
    stored = open_dense(folder, layer)
    linear = nn.Linear(layer.inputs, layer.outputs, layer.bias, device, torch.float32)
    linear.requires_grad_(False).weight.copy_(stored.read(WEIGHT, torch.float32))
    if layer.bias:
        linear.bias.copy_(stored.read(BIAS, torch.float32))
    return nn.Sequential(linear, getattr(nn, layer.activation)())


def open_dense(folder: str, layer: Dense) -> StoredTensors:
    """Its weights, of which the file's header is read. Raises EngineError for those that are
    missing or of another shape."""
    name = Path(folder).name
    stored = StoredTensors(str(Path(folder) / layer.path))
    wanted = {WEIGHT: [layer.outputs, layer.inputs], BIAS: [layer.outputs]}
    for key in (WEIGHT, BIAS) if layer.bias else (WEIGHT,):
        if key not in stored.names():
            raise EngineError(
                f"The checkpoint {name!r} lacks {key} in {layer.path}/*.safetensors: is it whole?"
            )
        if stored.shape(key) != wanted[key]:
            raise EngineError(
                f"{key} in {layer.path} of the checkpoint {name!r} is {stored.shape(key)}; its "
                f"config.json asks for {wanted[key]}."
            )
    return stored
