"""Other models that a checkpoint names as the source of a part of its weights and of that part's
configuration."""

from ..errors import EngineError
from .json_files import Json

FIELDS = {"ultravox": {"text_config": "text_model_id", "audio_config": "audio_model_id"}}
"""By model type: parts of the configuration, and the field that names the model which has them."""


def named_companions(config: Json, name: str) -> dict[str, str]:
    """By part of `config`, an id on a hub or a folder. Raises EngineError for a name that is none.
    `name`: the checkpoint's."""
    found = {}
    for part, field in FIELDS.get(str(config.get("model_type")), {}).items():
        stated = config.get(field)
        if stated is None:
            continue
        if not isinstance(stated, str) or not stated or "\0" in stated:
            text = f"The config.json of {name!r} is broken: {field}={stated!r} names no model."
            raise EngineError(text)
        found[part] = stated
    return found


def field_of(config: Json, part: str) -> str:
    """The field that names the part's model."""
    return FIELDS[str(config["model_type"])][part]
