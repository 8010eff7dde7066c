"""Where a model's chat template comes from: the operator's word, the checkpoint's files, or one that is built in.

The built-in ones lie in `chat_templates/`; one that is named after a family is that family's.
"""

import json
from pathlib import Path
from typing import Any

from ...protocol.checkpoint import CheckpointFolder, find_family
from ...protocol.errors import EngineError
from ...protocol.facts import ModelFacts

BUILT_IN = Path(__file__).parent / "chat_templates"
FAMILIES = Path(__file__).parent / "families"


def chat_template_of(model: ModelFacts | CheckpointFolder, given: str | None) -> str | None:
    """The Jinja source that chats with `model` are rendered by; None: there is none.

    In this order: `given` (--chat-template), the processor's, the tokenizer's, the built-in one of the model's type. Raises
    EngineError for a `given` that is none, and for files that cannot be read.
    """
    if given is not None:
        return operator_template(given)
    own = _of_checkpoint(Path(model.path))
    if own is not None:
        return own
    built_in = BUILT_IN / f"{find_family(FAMILIES, model.model_type)}.jinja"
    return built_in.read_text() if built_in.exists() else None


def operator_template(value: str) -> str:
    """`--chat-template`: literal Jinja itself, a file's content, or a built-in one by its name. Raises EngineError for a value
    that is none of them, such as a path that does not exist.
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
        return (BUILT_IN / f"{value}.jinja").read_text()
    raise EngineError(
        f"The chat template {value!r} is neither a file that exists, nor literal Jinja, nor the name of a built-in one"
        f" ({', '.join(built_in_names())})."
    )


def no_template(model: ModelFacts | CheckpointFolder) -> EngineError:
    """For a server, which offers chat, of a model that has no template."""
    return EngineError(
        f"The model in {model.path!r} has no chat template, and none is built in for models of type {model.model_type!r}:"
        f" give one with --chat-template, as a file, as literal Jinja, or by name ({', '.join(built_in_names())})."
    )


def built_in_names() -> list[str]:
    return sorted(file.stem for file in BUILT_IN.glob("*.jinja"))


def _of_checkpoint(folder: Path) -> str | None:
    """The processor's comes first (as transformers reads it: its Jinja file before its JSON), the tokenizer's last."""
    file = folder / "chat_template.jinja"
    if file.exists():
        try:
            return file.read_text()
        except (OSError, ValueError):
            raise EngineError("chat_template.jinja of the model cannot be read.") from None
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        template = _json(folder, name).get("chat_template")
        if isinstance(template, str):
            return template
        if isinstance(template, list) and template:  # several named ones
            named = {entry["name"]: entry["template"] for entry in template}
            return str(named.get("default") or next(iter(named.values())))
    return None


def _json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        raise EngineError(f"{name} of the model cannot be read as JSON.") from None
    return value if isinstance(value, dict) else {}
