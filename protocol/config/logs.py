"""How all processes of an engine write their log. Said by two variables, which `thespis serve` sets
from its flags for the processes that it starts."""

import os
from collections.abc import Mapping
from typing import Literal, get_args

from .environment import OURS

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]
LEVEL, FORMAT = f"{OURS}LOG_LEVEL", f"{OURS}LOG_FORMAT"


def told(environ: Mapping[str, str] | None = None) -> tuple[LogLevel, LogFormat]:
    """What is nonsense is read as nothing: a start refuses it, and a log must be written."""
    table = os.environ if environ is None else environ
    levels: tuple[LogLevel, ...] = get_args(LogLevel)
    forms: tuple[LogFormat, ...] = get_args(LogFormat)
    level: LogLevel = next((one for one in levels if one == table.get(LEVEL)), "info")
    form: LogFormat = next((one for one in forms if one == table.get(FORMAT)), "text")
    return level, form


def variables(level: LogLevel, form: LogFormat) -> dict[str, str]:
    """For the processes of an engine."""
    return {LEVEL: level, FORMAT: form}
