"""Finds a checkpoint's family by the `MODEL_TYPES` that each file declares, and loads it alone."""

from importlib import import_module
from pathlib import Path

from ....protocol.checkpoint import find_family
from ..checkpoint import Checkpoint
from ..tokens import TextTokenizer
from .base import Family


def load_family(checkpoint: Checkpoint, tokenizer: TextTokenizer) -> Family:
    """Raises EngineError for a model type that no file declares."""
    name = find_family(Path(__file__).parent, checkpoint.info.model_type)
    family: Family = import_module(f"{__package__}.{name}").load(checkpoint, tokenizer)
    return family
