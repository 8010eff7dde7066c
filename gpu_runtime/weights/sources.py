"""Where a checkpoint's weights come from: its safetensors as they are, or unpacked from few bits,
or those of a GGUF file."""

from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedModel

from ...protocol.checkpoint.json_files import Json, read_object
from ...protocol.checkpoint.quantization import quantization_of, stated_quantization
from ...protocol.errors import EngineError
from .companions import companions_of
from .files import StoredTensors
from .gguf import GgufTensors
from .joined import JoinedTensors
from .packed.awq import Awq
from .packed.compressed import CompressedTensors
from .packed.form import Form, UnpackedTensors
from .packed.fp8 import Fp8
from .packed.gptq import Gptq
from .packed.mxfp4 import Mxfp4
from .source import WeightSource

_FORMS: dict[str, Callable[[Json], Form]] = {
    "fp8": Fp8,
    "awq": Awq,
    "gptq": Gptq,
    "compressed-tensors": CompressedTensors,
    "mxfp4": Mxfp4,
}


def open_weights(folder: str, model: PreTrainedModel) -> WeightSource:
    """With those that the folder leaves to other models. `model`: on meta; by it the tensors of a
    GGUF file get their names.

    Raises EngineError for a file that cannot be read, and for a form that is not.
    """
    own = _open(folder, model)
    beside = {part: _open(str(place), model) for part, place in companions_of(Path(folder)).items()}
    return JoinedTensors(own, beside) if beside else own


def _open(folder: str, model: PreTrainedModel) -> WeightSource:
    config = read_object(Path(folder), "config.json")
    method = quantization_of(config, folder)
    if method == "gguf":
        return GgufTensors(folder, model)
    stored = StoredTensors(folder)
    if method is None:
        return stored
    try:
        return UnpackedTensors(stored, _FORMS[method](stated_quantization(config) or {}))
    except (TypeError, ValueError) as error:
        raise EngineError(
            f"The config.json of {stored.checkpoint!r} is broken: of its quantised weights."
        ) from error
