"""A checkpoint's configuration and classes, as transformers has them. Code that a checkpoint brings
along is never run.

`AutoConfig` alone is not safe: it asks on stdin where a folder names code of its own, and it fills
in defaults in silence where a file's form, flat or nested, is not its class's. So each form is
tried, and what the file states must come out of it.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from ...protocol.checkpoint.json_files import Json, read_object
from ...protocol.checkpoint.quantization import without_quantization
from ...protocol.errors import EngineError
from ..weights.checkpoint import Checkpoint
from ..weights.companions import with_companions
from .config_forms import class_called, forms_of, lost_of, text_config, text_part, unwrap

MOST_LAYERS = 4096
"""Of any part of a model: each is built, even on meta, and a file may state any number."""


def load_config(folder: str | Path) -> PreTrainedConfig:
    """The configuration of the model that answers; of a model with a thinker, the thinker's.

    Raises EngineError for a type that transformers does not have, and for a file whose numbers no
    form of the class keeps.
    """
    name = str(folder)
    raw = without_quantization(read_config(folder))
    stated = unwrap(raw).get("model_type")
    if stated not in CONFIG_MAPPING:
        raise _unknown(stated, raw, name)
    _refuse_endless(raw, name)
    named = unwrap(raw).get("architectures") or []
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        raise _broken(name, f"architectures={named!r} is no list of names")
    lost, fitting = "", list[PreTrainedConfig]()
    for form in forms_of(raw):
        config = _from_dict(form, name)
        if losing := lost_of(form, config):
            lost = lost or losing
            continue
        _keep_ties(form, config)
        fitting.append(config)
        if form["model_type"] == stated:
            break
    if not fitting:
        raise EngineError(
            f"The config.json of {name!r} is not read right by transformers "
            f"{transformers.__version__}: {lost}. "
            "Such a model would be built with other sizes than its weights have."
        )
    return fitting[0] if len(fitting) == 1 else _of_the_weights(Path(folder), fitting)


def _of_the_weights(folder: Path, configs: list[PreTrainedConfig]) -> PreTrainedConfig:
    """Where the file says one type and names a class of another: the one that the weights have the
    names of."""

    def lacking(config: PreTrainedConfig) -> float:
        try:
            return len(Checkpoint(str(folder), build_on_meta(config)).missing())
        except EngineError:  # it has weights that this model does not
            return float("inf")

    return min(configs, key=lacking) if any(folder.glob("*.safetensors")) else configs[0]


def read_config(folder: str | Path) -> Json:
    """config.json as it stands, with the parts that it leaves to other models.

    Raises EngineError where there is none, or no object in it, and for a model beside it that is
    not there.
    """
    raw = read_object(Path(folder), "config.json")
    if not raw:
        raise EngineError(f"{str(folder)!r} has no config.json, or one that states nothing.")
    return with_companions(Path(folder), raw)


def model_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class with a head that runs it: the one that the checkpoint names, else the one of its
    type.

    Raises EngineError where transformers has none.
    """
    for architecture in config.architectures or ():
        named = class_called(architecture)
        if named is not None and named.config_class is type(config):
            return named
    for mapping in ("MULTIMODAL_LM", "IMAGE_TEXT_TO_TEXT", "CAUSAL_LM"):
        found = getattr(modeling_auto, f"MODEL_FOR_{mapping}_MAPPING_NAMES").get(config.model_type)
        answering = class_called((found if isinstance(found, str) else found[0]) if found else "")
        wanted = getattr(answering, "config_class", None)
        if answering is not None and wanted is not None and isinstance(config, wanted):
            return answering
    raise EngineError(
        f"transformers {transformers.__version__} has no class that writes text for models of "
        f"type {config.model_type!r}."
    )


def build_on_meta(
    source: str | Path | PreTrainedConfig, dtype: torch.dtype | None = None
) -> PreTrainedModel:
    """The whole model with its head, of a folder or of a configuration, without memory for its
    weights.

    `dtype`: of the run, in which models compute tables and scales that no file holds; None: the one
    that the file states. Raises EngineError where its class cannot be built from the configuration.
    """
    config = source if isinstance(source, PreTrainedConfig) else load_config(source)
    kind: Any = model_class(config)
    asked = {} if dtype is None else {"dtype": dtype}
    try:
        with torch.device("meta"):
            model: PreTrainedModel = kind._from_config(config, **asked).eval()
            return model
    except Exception as error:  # whatever a class says of numbers that do not fit each other
        raise EngineError(
            f"{kind.__name__} of transformers cannot be built from config.json: {said(error)}"
        ) from error


def _broken(name: str, why: str) -> EngineError:
    return EngineError(f"The config.json of {name!r} is broken: {why}.")


def _unknown(kind: Any, raw: Json, name: str) -> EngineError:
    if kind is None:
        return _broken(name, "model_type is missing")
    if raw.get("auto_map"):
        return EngineError(
            f"The model in {name!r} is of type {kind!r}, which needs code that its checkpoint "
            f"names (auto_map); such code is never run: give a checkpoint that was converted for "
            f"transformers."
        )
    return EngineError(
        f"Models of type {kind!r} are not supported: transformers {transformers.__version__} has "
        f"no such type."
    )


def _refuse_endless(part: Json, name: str) -> None:
    for key, value in part.items():
        counts = key.endswith("layers") or key == "depth"
        if isinstance(value, dict):
            _refuse_endless(value, name)
        elif counts and isinstance(value, int) and value > MOST_LAYERS:
            raise _broken(name, f"{key}={value} is beyond all measure")


def _from_dict(form: Json, name: str) -> PreTrainedConfig:
    try:
        config: PreTrainedConfig = CONFIG_MAPPING[form["model_type"]].from_dict(deepcopy(form))
        text_config(config)
    except Exception as error:  # whatever a class says of a value: there are hundreds of classes
        raise EngineError(f"The config.json of {name!r} is broken: {said(error)}") from error
    if config.is_encoder_decoder:
        raise EngineError(
            f"Models of type {config.model_type!r} are not supported: their decoder reads an "
            f"encoder's states in every layer."
        )
    return config


def _keep_ties(form: Json, config: PreTrainedConfig) -> None:
    """Tied when the file's top or text part says so; where neither says anything, as the class has
    it. A stored head wins over all of this."""
    stated = [part.get("tie_word_embeddings") for part in (form, text_part(form))]
    if stated != [None, None]:
        for part in (config, text_config(config)):
            part.tie_word_embeddings = any(stated)


def said(error: Exception) -> str:
    """Of an error of transformers, what fits into a sentence."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"
