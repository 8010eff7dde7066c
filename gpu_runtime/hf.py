"""A checkpoint's configuration and classes, as transformers has them. Code that a checkpoint brings along is never run.

`AutoConfig` alone is not safe: it asks on stdin where a folder names code of its own, and it fills in defaults in silence
where a file's form, flat or nested, is not its class's. So each form is tried, and what the file states must come out of it.
"""

import json
import math
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from ..protocol.errors import EngineError

Json = dict[str, Any]

WRAPPER = "thinker_config"
"""The part that reads and answers, of a model which also speaks."""
_TEXT = "text_config"
_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
)
"""Of a text model: a file that states one at its top and has no part for the text model is flat."""
_ROPES = {"mrope": "default", "su": "longrope"}
"""Kinds of rotary embedding that have another name today; planes are told by `mrope_section`."""
_NOT_COMPARED = ("sliding_window", "max_window_layers", "num_labels", "pad_token_id", "bos_token_id", "eos_token_id")
"""Numbers that classes rewrite on purpose, or that are read from the file itself."""


def load_config(folder: str | Path) -> PreTrainedConfig:
    """The configuration of the model that answers; of a model with a thinker, the thinker's.

    Raises EngineError for a type that transformers does not have, and for a file whose numbers no form of the class keeps.
    """
    name = str(folder)
    raw = read_config(folder)
    lost = ""
    for form in _forms(raw, name):
        config = _from_dict(form, name)
        lost = lost or _lost(form, config)
        if not _lost(form, config):
            _keep_ties(form, config)
            return config
    raise EngineError(
        f"The config.json of {name!r} is not read right by transformers {transformers.__version__}: {lost}. "
        "Such a model would be built with other sizes than its weights have."
    )


def read_config(folder: str | Path) -> Json:
    """config.json as it stands. Raises EngineError where there is none, or no object in it."""
    try:
        raw = json.loads((Path(folder) / "config.json").read_bytes())
    except OSError as error:
        raise EngineError(f"config.json in {str(folder)!r} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise EngineError(f"config.json in {str(folder)!r} cannot be read as JSON.") from None
    if not isinstance(raw, dict):
        raise EngineError(f"config.json in {str(folder)!r} holds no JSON object.")
    return raw


def unwrap(raw: Json) -> Json:
    """The part of config.json that tells of the model that answers: the thinker's, of a model that has one."""
    inner = raw.get(WRAPPER)
    if not isinstance(inner, dict):
        return raw
    outer = {key: raw[key] for key in ("architectures", "dtype", "torch_dtype", "quantization_config") if key in raw}
    return {**outer, **inner, "model_type": _first_known(inner, raw)}


def _first_known(*parts: Json) -> Any:
    kinds = [part.get("model_type") for part in parts]
    return next((kind for kind in kinds if kind in CONFIG_MAPPING), kinds[-1])


def text_part(raw: Json) -> Json:
    """The part of `unwrap`'s answer that tells of the text model: a dict of its own, or, in a flat file, the whole."""
    text = raw.get(_TEXT)
    return text if isinstance(text, dict) else raw


def text_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """The text model's part of a configuration; the whole, of a model that has no other."""
    part: PreTrainedConfig = config.get_text_config(decoder=True)
    return part


def model_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class with a head that runs it: the one that the checkpoint names, else the one of its type.

    Raises EngineError where transformers has none.
    """
    for architecture in config.architectures or ():
        named = _class_called(architecture)
        if named is not None and named.config_class is type(config):
            return named
    for mapping in ("MULTIMODAL_LM", "IMAGE_TEXT_TO_TEXT", "CAUSAL_LM"):
        found = getattr(modeling_auto, f"MODEL_FOR_{mapping}_MAPPING_NAMES").get(config.model_type)
        answering = None if found is None else _class_called(found if isinstance(found, str) else found[0])
        if answering is not None and isinstance(config, answering.config_class):
            return answering
    raise EngineError(
        f"transformers {transformers.__version__} has no class that writes text for models of type {config.model_type!r}."
    )


def build_on_meta(source: str | Path | PreTrainedConfig) -> PreTrainedModel:
    """The whole model with its head, of a folder or of a configuration, without memory for its weights.

    Raises EngineError where its class cannot be built from the configuration.
    """
    config = source if isinstance(source, PreTrainedConfig) else load_config(source)
    kind = model_class(config)
    try:
        with torch.device("meta"):
            return kind._from_config(config).eval()
    except Exception as error:  # whatever a class says of numbers that do not fit each other
        raise EngineError(f"{kind.__name__} of transformers cannot be built from config.json: {_said(error)}") from error


def _forms(raw: Json, name: str) -> Iterator[Json]:
    """Readings of the file, likeliest first: as the class that it names, as its type, as that with the text model's numbers
    in a part of their own. Parts of a type that nobody knows are of the type that the class has there."""
    inner = _spelled(unwrap(raw))
    kind = inner.get("model_type")
    if kind not in CONFIG_MAPPING:
        raise EngineError(_unknown(kind, raw, name))
    for architecture in inner.get("architectures") or ():
        named = _class_called(architecture)
        if named is not None and named.config_class is not None and _has_parts(named.config_class, inner):
            yield _with_known_parts({**inner, "model_type": named.config_class.model_type})
            break
    yield _with_known_parts(inner)
    parts = CONFIG_MAPPING[kind].sub_configs_defaults
    if _TEXT in parts and not isinstance(inner.get(_TEXT), dict):
        outer = {"model_type", "architectures", "tie_word_embeddings", *CONFIG_MAPPING[kind].__annotations__, *parts}
        text = {key: value for key, value in inner.items() if key not in outer}
        yield _with_known_parts({**{key: inner[key] for key in outer if key in inner}, _TEXT: text})


def _spelled(part: Json) -> Json:
    """The same in the spelling that every class of today understands: names of rope kinds and dtypes have changed."""
    spelled = {key: _spelled(value) if isinstance(value, dict) else value for key, value in part.items()}
    for key in ("rope_scaling", "rope_parameters"):
        rope = spelled.get(key)
        kind = (rope.get("rope_type") or rope.get("type")) if isinstance(rope, dict) else None
        if kind in _ROPES:
            spelled[key] = {**rope, "type": _ROPES[kind], "rope_type": _ROPES[kind]}
    for key in ("dtype", "torch_dtype"):
        if isinstance(spelled.get(key), str):
            spelled[key] = spelled[key].removeprefix("torch.")
    return spelled


def _with_known_parts(form: Json) -> Json:
    specs = CONFIG_MAPPING[form["model_type"]].sub_configs_defaults
    parts = {part: form[part] for part in specs if isinstance(form.get(part), dict)}
    known = {
        part: {key: value for key, value in stated.items() if key != "model_type" or value in CONFIG_MAPPING}
        for part, stated in parts.items()
    }
    return {**form, **known}


def _has_parts(kind: type[PreTrainedConfig], raw: Json) -> bool:
    """The file has every part, beside the text model, that the class is made of."""
    return all(isinstance(raw.get(part), dict) for part in kind.sub_configs_defaults if part != _TEXT)


def _unknown(kind: Any, raw: Json, name: str) -> str:
    if kind is None:
        return f"The config.json of {name!r} is broken: model_type is missing."
    if raw.get("auto_map"):
        return (
            f"The model in {name!r} is of type {kind!r}, which needs code that its checkpoint names (auto_map); such code "
            "is never run: give a checkpoint that was converted for transformers."
        )
    return f"Models of type {kind!r} are not supported: transformers {transformers.__version__} has no such type."


def _from_dict(form: Json, name: str) -> PreTrainedConfig:
    try:
        config: PreTrainedConfig = CONFIG_MAPPING[form["model_type"]].from_dict(deepcopy(form))
        text_config(config)
    except Exception as error:  # whatever a class says of a value: there are hundreds of classes
        raise EngineError(f"The config.json of {name!r} is broken: {_said(error)}") from error
    if config.is_encoder_decoder:
        raise EngineError(
            f"Models of type {config.model_type!r} are not supported: their decoder reads an encoder's states in every layer."
        )
    return config


def _lost(form: Json, config: PreTrainedConfig) -> str:
    """The first number that the file states and the configuration has not, in words; "": none."""
    stated = text_part(form)
    text = text_config(config)
    for key in _SIZES:
        if isinstance(stated.get(key), int) and not _has(text, key):
            return f"it drops {key}={stated[key]}"
    for key, part in stated.items() if "vocab_size" not in stated else ():
        if isinstance(part, dict) and "vocab_size" in part and not isinstance(_value(config, key), PreTrainedConfig):
            return f"it does not read {key}"
    sections = _sections(stated)
    if sections and sections != _sections({"rope_parameters": _value(text, "rope_parameters")}):
        return f"it drops mrope_section={sections}"
    for path, value, taken in _numbers(form, config) if stated is not form else _flat_numbers(form, config, text):
        if not math.isclose(value, taken, rel_tol=1e-9):
            return f"the file says {path}={value}, and it takes {taken}"
    return ""


def _sections(part: Json) -> Any:
    """How many of a head's columns each plane of positions turns; None: there is one plane."""
    ropes = [part.get(key) for key in ("rope_scaling", "rope_parameters")]
    return next((rope["mrope_section"] for rope in ropes if isinstance(rope, dict) and rope.get("mrope_section")), None)


def _flat_numbers(form: Json, config: PreTrainedConfig, text: PreTrainedConfig) -> Iterator[tuple[str, float, float]]:
    yield from _numbers({key: value for key, value in form.items() if not isinstance(value, dict)}, text)
    yield from _numbers({key: value for key, value in form.items() if isinstance(value, dict)}, config)


def _numbers(stated: Json, config: Any) -> Iterator[tuple[str, float, float]]:
    """(name, value in the file, value in `config`) of every number that both have."""
    rope = getattr(config, "rope_parameters", None)
    if isinstance(rope, dict) and isinstance(stated.get("rope_theta"), int | float) and "rope_theta" in rope:
        yield "rope_theta", stated["rope_theta"], rope["rope_theta"]
    for key, value in stated.items():
        if key in _NOT_COMPARED or not (isinstance(value, dict) or _is_number(value)):
            continue
        taken = _value(config, key)
        if isinstance(value, dict) and isinstance(taken, PreTrainedConfig):
            yield from ((f"{key}.{path}", one, other) for path, one, other in _numbers(value, taken))
        elif _is_number(value) and _is_number(taken):
            yield key, value, taken


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value(config: Any, key: str) -> Any:
    """None also for what differs from layer to layer, of which configurations tell no single value."""
    try:
        return getattr(config, key, None)
    except Exception:
        return None


def _has(config: Any, key: str) -> bool:
    try:
        return hasattr(config, key)
    except Exception:
        return True


def _keep_ties(form: Json, config: PreTrainedConfig) -> None:
    """Tied when the file's top or text part says so; where neither says anything, as the class has it. A stored head wins
    over all of this."""
    said = [part["tie_word_embeddings"] for part in (form, text_part(form)) if part.get("tie_word_embeddings") is not None]
    if said:
        for part in (config, text_config(config)):
            part.tie_word_embeddings = any(said)


def _class_called(name: str) -> type[PreTrainedModel] | None:
    """A class of transformers that writes text, by its name; published names differ from the class's in their capitals."""
    found = getattr(transformers, name, None)
    if found is None:
        exact = next((known for known in dir(transformers) if known.lower() == name.lower()), None)
        found = getattr(transformers, exact, None) if exact is not None else None
    answers = isinstance(found, type) and issubclass(found, PreTrainedModel) and issubclass(found, GenerationMixin)
    return found if answers else None


def _said(error: Exception) -> str:
    """Of an error of transformers, what fits into a sentence."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"
