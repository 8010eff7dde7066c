"""What the zygote imports for a model, found out without importing any of it."""

from pathlib import Path

from ...protocol.checkpoint import find_family
from ...protocol.facts import ModelFacts
from .config import FORKED, MODULES, DirectorConfig

_ROOT = Path(__file__).resolve().parents[2]
_FAMILIES = {
    "thespis.gpu_runtime.models": "gpu_runtime/models",
    "thespis.actors.preprocessor.families": "actors/preprocessor/families",
}


def preload_for(config: DirectorConfig, model: ModelFacts) -> list[str]:
    """Modules for the zygote, heaviest first. Raises EngineError where no family knows the model."""
    if config.preload is not None:
        return list(config.preload)
    if not any(config.is_forked(kind) for kind in FORKED):
        return []
    families = [f"{package}.{find_family(_ROOT / folder, model.model_type)}" for package, folder in _FAMILIES.items()]
    return ["torch", *families, *(MODULES[kind] for kind in FORKED)]
