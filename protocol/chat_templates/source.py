"""Where a model's chat template comes from: the operator's word, the checkpoint's files, or one
that is built in.

The built-in ones lie beside this file.
"""

from pathlib import Path

from ..checkpoint.folder import CheckpointFolder
from ..checkpoint.json_files import read_object
from ..errors import EngineError
from ..facts import ModelFacts

BUILT_IN = Path(__file__).parent
BUILT_IN_OF = {
    "llava": "llava",
    "paligemma": "paligemma",
    "qwen2_vl": "qwen_vl",
    "qwen2_5_vl": "qwen_vl",
    "qwen2_5_omni": "qwen_omni",
    "qwen2_5_omni_thinker": "qwen_omni",
}
"""By model type, for checkpoints that bring none."""
OF_PROCESSOR = {"qwen2_audio": "qwen2_audio"}
"""By model type, those whose processor class in transformers has a template: it goes before the
tokenizer's, which knows no sounds."""


def chat_template_of(model: ModelFacts | CheckpointFolder, given: str | None) -> str | None:
    """The Jinja source that chats with `model` are rendered by; None: there is none.

    In this order: `given` (--chat-template), the processor's, the tokenizer's, the built-in one of
    the model's type. Raises EngineError for a `given` that is none, and for files that cannot be
    read.
    """
    if given is not None:
        return operator_template(given)
    folder, model_type = Path(model.path), model.model_type
    found = _of_processor(folder)
    if found is None and model_type in OF_PROCESSOR:
        found = _built_in(OF_PROCESSOR[model_type])
    if found is None:
        found = _template_in(folder, "tokenizer_config.json")
    return (
        _built_in(BUILT_IN_OF[model_type]) if found is None and model_type in BUILT_IN_OF else found
    )


def operator_template(value: str) -> str:
    """`--chat-template`: literal Jinja itself, a file's content, or a built-in one by its name.
    Raises EngineError for a value that is none of them, such as a path that does not exist.
    """
    if "{{" in value or "{%" in value or "\n" in value:
        return value
    try:
        file = Path(value).expanduser()
        if file.is_file():
            return file.read_text()
    except (OSError, ValueError, RuntimeError):  # a name that is too long, no text, no home
        raise EngineError(f"The chat template {value!r} cannot be read.") from None
    if value in built_in_names():
        return _built_in(value)
    raise EngineError(
        f"The chat template {value!r} is neither a file that exists, nor literal Jinja, nor the "
        f"name of a built-in one ({', '.join(built_in_names())})."
    )


def no_template(model: ModelFacts | CheckpointFolder) -> EngineError:
    """For a server, which offers chat, of a model that has no template."""
    return EngineError(
        f"The model in {model.path!r} has no chat template, and none is built in for models of "
        f"type {model.model_type!r}: give one with --chat-template, as a file, as literal Jinja, "
        f"or by name ({', '.join(built_in_names())})."
    )


def built_in_names() -> list[str]:
    return sorted(file.stem for file in BUILT_IN.glob("*.jinja"))


def _built_in(name: str) -> str:
    return (BUILT_IN / f"{name}.jinja").read_text()


def _of_processor(folder: Path) -> str | None:
    """In the order in which transformers looks for it. A file of its own may be that of a tokenizer
    alone."""
    for name in ("processor_config.json", "chat_template.json"):
        if (found := _template_in(folder, name)) is not None:
            return found
    file = folder / "chat_template.jinja"
    try:
        return file.read_text() if file.exists() else None
    except (OSError, ValueError):
        raise EngineError(f"{file.name} of the model cannot be read.") from None


def _template_in(folder: Path, name: str) -> str | None:
    template = read_object(folder, name).get("chat_template")
    if isinstance(template, list) and template:  # several named ones
        named = {entry["name"]: entry["template"] for entry in template}
        return str(named.get("default") or next(iter(named.values())))
    return template if isinstance(template, str) else None
