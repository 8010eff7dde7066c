"""The weights of a GGUF file under the names that transformers gives them; it brings names and
layouts over."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, modeling_gguf_pytorch_utils

from ...protocol.checkpoint.gguf_file import WEIGHTS, read_gguf
from ...protocol.errors import EngineError
from ..gguf.config import FREQUENCIES, LONG, SHORT
from ..gguf.tensors import floats

_library: Any = modeling_gguf_pytorch_utils  # untyped
_IN_CONFIG = {FREQUENCIES, LONG, SHORT}
"""Tensors that the configuration was made of."""


class GgufTensors:
    """The tensors that make the weights of `model`, which is on meta; several may make one.
    Unpacked one at a time."""

    def __init__(self, folder: str, model: PreTrainedModel) -> None:
        self.checkpoint = Path(folder).name
        """For messages."""
        self._path = (Path(folder) / WEIGHTS).resolve()
        self._file = read_gguf(self._path)
        known = _library.TENSOR_PROCESSORS.get(self._file.architecture, _library.TensorProcessor)
        self._processor: Any = known(config=model.config.to_dict())
        self._names: dict[str, str] = _library.get_gguf_hf_weights_map(model, self._processor)
        """By the name in the file, without its ending where transformers' name has none."""
        self._expected = {name: list(weight.shape) for name, weight in model.state_dict().items()}
        self._stored: dict[str, list[str]] = defaultdict(list)
        """Name of transformers -> names in the file."""
        for stored in self._file.tensors.keys() - _IN_CONFIG:
            name = self._names.get(stored) or self._names.get(stored.removesuffix(".weight"))
            self._stored[name or stored].append(stored)

    def names(self) -> list[str]:
        return list(self._stored)

    def shape(self, name: str) -> list[int]:
        """The model's where as many numbers are stored: transformers gives some of them another
        layout."""
        shapes = [list(self._file.tensors[stored].shape) for stored in self._stored[name]]
        wanted = self._expected.get(name, shapes[0])
        numbers = sum(torch.Size(shape).numel() for shape in shapes)
        return wanted if numbers == torch.Size(wanted).numel() else shapes[0]

    def read(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """Raises EngineError for tensors that do not fit together."""
        made: dict[str, torch.Tensor] = {}
        try:
            for stored in self._stored[name]:
                result = self._processor.process(
                    floats(self._path, self._file, stored),
                    stored,
                    tensor_key_mapping=self._names,
                    parsed_parameters={"tensors": made},
                )
                if result.name is not None:
                    made[name] = torch.from_numpy(result.weights)
        except (ValueError, RuntimeError, KeyError) as error:
            raise EngineError(
                f"The tensors of {self._path.name} that make {name} do not fit together: is it "
                f"whole?"
            ) from error
        return made[name].to(dtype)
