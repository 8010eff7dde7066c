"""The forms in which a config.json may be meant, and what of it a configuration of transformers has
lost."""

import math
from collections.abc import Iterator
from typing import Any

import transformers
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.integrations.heterogeneity import AmbiguousGlobalPerLayerAttributeError
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from ...protocol.checkpoint.json_files import Json
from .. import families

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
_ABSENT = object()
_NOT_COMPARED = (
    "sliding_window",
    "max_window_layers",
    "num_labels",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
)
"""Numbers that classes rewrite on purpose, or that are read from the file itself."""


def unwrap(raw: Json) -> Json:
    """The part of config.json that tells of the model that answers: the thinker's, of a model that
    has one."""
    inner = raw.get(WRAPPER)
    if not isinstance(inner, dict):
        return raw
    outer = {key: raw[key] for key in ("architectures", "dtype", "torch_dtype") if key in raw}
    return {**outer, **inner, "model_type": _first_known(inner, raw)}


def _first_known(*parts: Json) -> Any:
    kinds = [part.get("model_type") for part in parts]
    return next((kind for kind in kinds if kind in CONFIG_MAPPING), kinds[-1])


def text_part(raw: Json) -> Json:
    """The part of `unwrap`'s answer that tells of the text model: a dict of its own, or, in a flat
    file, the whole."""
    text = raw.get(_TEXT)
    return text if isinstance(text, dict) else raw


def text_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """The text model's part of a configuration; the whole, of a model that has no other."""
    part: PreTrainedConfig = config.get_text_config(decoder=True)
    return part


def forms_of(raw: Json) -> Iterator[Json]:
    """Readings of the file, likeliest first: as the class that it names, as its type, as that with
    the text model's numbers in a part of their own. Parts of a type that nobody knows are of the
    type that the class has there."""
    inner = _spelled(unwrap(raw))
    kind = inner["model_type"]
    for architecture in inner.get("architectures") or ():
        config_class = getattr(class_called(architecture), "config_class", None)
        if config_class is not None and _has_parts(config_class, inner):
            yield _with_known_parts({**inner, "model_type": config_class.model_type})
            break
    yield _with_known_parts(inner)
    parts = CONFIG_MAPPING[kind].sub_configs_defaults
    if _TEXT in parts and not isinstance(inner.get(_TEXT), dict):
        outer = {"model_type", "architectures", "tie_word_embeddings"}
        outer |= {*CONFIG_MAPPING[kind].__annotations__, *parts}
        text = {key: value for key, value in inner.items() if key not in outer}
        yield _with_known_parts({**{key: inner[key] for key in outer if key in inner}, _TEXT: text})


def _spelled(part: Json) -> Json:
    """The same in the spelling that every class of today understands: names of rope kinds and
    dtypes have changed. With which kernels somebody once computed attention is left out."""
    spelled: Json = {
        key: _spelled(value) if isinstance(value, dict) else value for key, value in part.items()
    }
    for key in ("attn_implementation", "_attn_implementation"):
        spelled.pop(key, None)
    for key in ("rope_scaling", "rope_parameters"):
        rope = spelled.get(key)
        kind = (rope.get("rope_type") or rope.get("type")) if isinstance(rope, dict) else None
        if isinstance(rope, dict) and kind in _ROPES:
            spelled[key] = {**rope, "type": _ROPES[kind], "rope_type": _ROPES[kind]}
    for key in ("dtype", "torch_dtype"):
        if isinstance(spelled.get(key), str):
            spelled[key] = spelled[key].removeprefix("torch.")
    return spelled


def _with_known_parts(form: Json) -> Json:
    made = dict(form)
    for part in CONFIG_MAPPING[form["model_type"]].sub_configs_defaults:
        stated = form.get(part)
        if isinstance(stated, dict) and stated.get("model_type") not in CONFIG_MAPPING:
            made[part] = {key: value for key, value in stated.items() if key != "model_type"}
    return made


def _has_parts(kind: type[PreTrainedConfig], raw: Json) -> bool:
    """The file has every part, beside the text model, that the class is made of."""
    parts = kind.sub_configs_defaults.keys() - {_TEXT}
    return all(isinstance(raw.get(part), dict) for part in parts)


def lost_of(form: Json, config: PreTrainedConfig) -> str:
    """The first number that the file states and the configuration has not, in words; "": none."""
    stated = text_part(form)
    text = text_config(config)
    for key in _SIZES:
        if isinstance(stated.get(key), int) and _value(text, key, _ABSENT) is _ABSENT:
            return f"it drops {key}={stated[key]}"
    for key, part in stated.items() if "vocab_size" not in stated else ():
        is_model = isinstance(part, dict) and "vocab_size" in part
        if is_model and not isinstance(_value(config, key), PreTrainedConfig):
            return f"it does not read {key}"
    sections = _sections(stated)
    if sections and sections != _sections({"rope_parameters": _value(text, "rope_parameters")}):
        return f"it drops mrope_section={sections}"
    flat = {key for key, value in form.items() if stated is form and not isinstance(value, dict)}
    for path, value, taken in (
        *_numbers({key: form[key] for key in form if key in flat}, text),
        *_numbers({key: form[key] for key in form if key not in flat}, config),
    ):
        if not math.isclose(value, taken, rel_tol=1e-9):
            return f"the file says {path}={value}, and it takes {taken}"
    return ""


def _sections(part: Json) -> Any:
    """How many of a head's columns each plane of positions turns; None: there is one plane."""
    for key in ("rope_scaling", "rope_parameters"):
        rope = part.get(key)
        if isinstance(rope, dict) and rope.get("mrope_section"):
            return rope["mrope_section"]
    return None


def _numbers(stated: Json, config: Any) -> Iterator[tuple[str, float, float]]:
    """(name, value in the file, value in `config`) of every number that both have."""
    rope, theta = getattr(config, "rope_parameters", None), stated.get("rope_theta")
    if isinstance(rope, dict) and isinstance(theta, int | float) and "rope_theta" in rope:
        yield "rope_theta", theta, rope["rope_theta"]
    for key, value in stated.items():
        if key in _NOT_COMPARED or not (isinstance(value, dict) or _is_number(value)):
            continue
        taken = _value(config, key)
        if isinstance(value, dict) and isinstance(taken, PreTrainedConfig):
            for path, one, other in _numbers(value, taken):
                yield f"{key}.{path}", one, other
        elif _is_number(value) and _is_number(taken):
            yield key, value, taken


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value(config: Any, key: str, absent: Any = None) -> Any:
    """None also for what differs from layer to layer, of which configurations tell no single
    value."""
    try:
        return getattr(config, key, absent)
    except AmbiguousGlobalPerLayerAttributeError:
        return None


def class_called(name: str) -> type[PreTrainedModel] | None:
    """A class that writes text, of transformers or of ours; published names differ from the class's
    in their capitals."""
    found = families.CLASSES.get(name) or getattr(transformers, name, None)
    if found is None:
        known = vars(transformers)["__all__"]  # dir() of transformers takes half a second each time
        exact = next((one for one in known if one.lower() == name.lower()), "")
        found = getattr(transformers, exact, None)
    if not isinstance(found, type) or not issubclass(found, PreTrainedModel):
        return None
    return found if issubclass(found, GenerationMixin) else None
