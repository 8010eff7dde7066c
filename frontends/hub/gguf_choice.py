"""Which GGUF file is meant, of several with one model in more or fewer bits."""

import re
from collections.abc import Collection

from ...protocol.errors import EngineError

PREFERRED = "Q4_K_M"
"""Which of several files is meant where nobody says, as llama.cpp and Ollama have it."""
SHOWN = 12
"""Names in an error."""
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_ENDING = ".gguf"


def chosen(names: Collection[str], choice: str | None, model: str) -> str:
    """The file that `choice` names, whole or by its last word (`Q8_0`), whatever its case; None:
    `PREFERRED`, or the only one. Raises EngineError that names what there is."""
    files = sorted(name for name in names if is_gguf(name))
    if choice is None:
        fitting = (
            files if len(files) == 1 else [name for name in files if _is_called(name, PREFERRED)]
        )
    else:
        fitting = [name for name in files if _is_called(name, choice)]
    if len(fitting) == 1:
        return fitting[0]
    there = ", ".join(files[:SHOWN]) + (
        f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    )
    if not files:
        parts = any(_PART.search(name) for name in names)
        raise EngineError(
            f"{model!r} holds no GGUF file of a text model in one "
            f"piece{' (only parts of some)' if parts else ''}."
        )
    asked = f"no GGUF file {choice!r}" if choice is not None else "several GGUF files"
    raise EngineError(
        f"{model!r} holds {asked}: choose one of {there}, whole or by its last word ({model}:Q8_0)."
    )


def is_gguf(name: str) -> bool:
    """A text model in one piece: no tower (mmproj), part of several, or imatrix."""
    lower = name.lower()
    other = _PART.search(name) or any(word in lower for word in ("/", "mmproj", "imatrix"))
    return lower.endswith(_ENDING) and not other


def _is_called(name: str, choice: str) -> bool:
    stem, wanted = name.lower().removesuffix(_ENDING), choice.lower().removesuffix(_ENDING)
    return stem == wanted or (stem.endswith(wanted) and stem[-len(wanted) - 1] in "-._")
