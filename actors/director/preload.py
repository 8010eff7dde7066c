"""What the zygote imports for a model, found out without importing any of it."""

from importlib.util import find_spec
from pathlib import Path

from ...protocol.checkpoint import find_family
from ...protocol.facts import ModelFacts
from .config import FORKED, MODULES, DirectorConfig

_FAMILIES = Path(__file__).resolve().parents[1] / "preprocessor" / "families"


def preload_for(config: DirectorConfig, model: ModelFacts) -> list[str]:
    """Modules for the zygote, heaviest first. Raises EngineError where no family knows the model."""
    if config.preload is not None:
        return list(config.preload)
    if not any(config.is_forked(kind) for kind in FORKED):
        return []
    family = f"thespis.actors.preprocessor.families.{find_family(_FAMILIES, model.model_type)}"
    return ["torch", *_modelling(model.model_type), family, *(MODULES[kind] for kind in FORKED)]


def _modelling(model_type: str) -> list[str]:
    """transformers' file for the type, `qwen2_5_omni` for a `qwen2_5_omni_thinker`. Imported before a fork, it is read and kept
    in memory once; a type without such a file is found by the processes themselves."""
    found = find_spec("transformers")
    folder = Path(found.origin).parent / "models" if found is not None and found.origin else Path()
    words = model_type.split("_")
    for count in range(len(words), 0, -1):
        name = "_".join(words[:count])
        if (folder / name / f"modeling_{name}.py").is_file():
            return [f"transformers.models.{name}.modeling_{name}"]
    return []
