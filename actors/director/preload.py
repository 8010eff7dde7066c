"""What the zygote imports for a model, and whether this machine has a GPU: both found out without importing torch."""

import os
from importlib.util import find_spec
from pathlib import Path

from ...protocol.checkpoint import ModelInfo, find_family
from .config import FORKED, MODULES, DirectorConfig

_ROOT = Path(__file__).resolve().parents[2]
_FAMILIES = {
    "thespis.gpu_runtime.models": "gpu_runtime/models",
    "thespis.actors.preprocessor.families": "actors/preprocessor/families",
}


def preload_for(config: DirectorConfig, model: ModelInfo) -> list[str]:
    """Modules for the zygote, heaviest first. Raises EngineError where no family knows the model."""
    if config.preload is not None:
        return list(config.preload)
    if not any(config.is_forked(kind) for kind in FORKED):
        return []
    families = [f"{package}.{find_family(_ROOT / folder, model.model_type)}" for package, folder in _FAMILIES.items()]
    return ["torch", *families, *(MODULES[kind] for kind in FORKED)]


def has_cuda() -> bool:
    """A GPU's device file is there, it is not hidden, and the installed torch was built for CUDA."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not any(Path("/dev").glob("nvidia[0-9]*")):
        return False
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    version = Path(spec.origin).with_name("version.py")
    return version.exists() and "cuda: Optional[str] = None" not in version.read_text()
