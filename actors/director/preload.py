"""What the zygote imports: the modules of all that it forks, which share what these need."""

from ...protocol.topology import FACTS
from .config import FORKED, MODULES, DirectorConfig

RUNTIME = "thespis.gpu_runtime"
"""Comes before whatever imports transformers: it leaves out what of that nobody uses."""


def preload_for(config: DirectorConfig) -> list[str]:
    """Modules for the zygote, heaviest first; []: no zygote is needed."""
    if config.preload is not None:
        return list(config.preload)
    forked = [
        kind
        for kind in FORKED
        if config.is_forked(kind) and (kind != FACTS or config.facts is None)
    ]
    return ["torch", RUNTIME, *(MODULES[kind] for kind in forked)] if forked else []
