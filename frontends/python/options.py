"""From keyword arguments of the Python faces to an `EngineConfig`."""

import os
from pathlib import Path
from typing import Any

from ...protocol.config.engine import EngineConfig, configure
from ...protocol.requests.sampling import SamplingParams
from ..unbuilt import nearest, unbuilt

SAMPLED = SamplingParams.__struct_fields__


def engine_config(model: str | Path, options: dict[str, Any]) -> EngineConfig:
    """Raises TypeError for an unknown option, ValueError for a value of the wrong type or range."""
    known = EngineConfig.__struct_fields__
    unknown = [name for name in options if name not in known]
    if unknown:
        why, near = unbuilt(unknown[0], known), nearest(unknown[0], known)
        if why is None and near is None and (sampled := nearest(unknown[0], SAMPLED)):
            why = f"{sampled!r} is an option of SamplingParams, which each call takes."
        meant = f"did you mean {near!r}? The" if near and not why else "the"
        text = f"There is no option {unknown[0]!r}; {meant} options are: {', '.join(known)}."
        raise TypeError(f"{text} {why}" if why else text)
    plain = {name: _plain(value) for name, value in options.items() if value is not None}
    return configure(EngineConfig, {"model": str(model), **plain})


def _plain(value: Any) -> Any:
    """In the types that JSON has."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return list(value) if isinstance(value, tuple | set | frozenset) else value
