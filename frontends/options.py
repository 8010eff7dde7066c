"""From keyword arguments of the Python faces to an `EngineConfig`."""

import difflib
import os
from pathlib import Path
from typing import Any

from ..protocol.config import EngineConfig, configure


def engine_config(model: str | Path, options: dict[str, Any]) -> EngineConfig:
    """Raises TypeError for an unknown option, ValueError for a value of the wrong type or range."""
    known = EngineConfig.__struct_fields__
    unknown = [name for name in options if name not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, 1)
        meant = f"did you mean {near[0]!r}? The options are" if near else "the options are"
        raise TypeError(f"There is no option {unknown[0]!r}; {meant}: {', '.join(known)}.")
    plain = {name: _plain(value) for name, value in options.items() if value is not None}
    return configure(EngineConfig, {"model": str(model), **plain})


def _plain(value: Any) -> Any:
    """In the types that JSON has."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return list(value) if isinstance(value, tuple | set | frozenset) else value
