"""Keyword arguments of the Python faces into an `EngineConfig`."""

import os
from pathlib import Path
from typing import Any

import msgspec

from ..protocol.config import EngineConfig


def engine_config(model: str | Path, options: dict[str, Any]) -> EngineConfig:
    """Raises TypeError for an option that there is not, ValueError for a value that is none."""
    known = EngineConfig.__struct_fields__
    unknown = [name for name in options if name not in known]
    if unknown:
        raise TypeError(f"There is no option {unknown[0]!r}; the options are: {', '.join(known)}.")
    plain = {name: _plain(value) for name, value in options.items() if value is not None}
    try:
        return msgspec.convert({"model": str(model), **plain}, EngineConfig)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def _plain(value: Any) -> Any:
    """As JSON would hold it."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return list(value) if isinstance(value, tuple | set | frozenset) else value
