"""How long a server lets its answer be kept: its `Cache-Control`, read with care. Pure."""

import math
from collections.abc import Mapping

_NOT_KEPT = frozenset({"no-store", "no-cache", "private"})


def fresh_seconds(headers: Mapping[str, str]) -> float:
    """0: not at all; infinity: the server says nothing, and the operator's bound holds alone."""
    seconds = math.inf
    for directive in headers.get("Cache-Control", "").lower().split(","):
        name, _, value = (part.strip() for part in directive.partition("="))
        if name in _NOT_KEPT:
            return 0.0
        if name in ("max-age", "s-maxage"):
            seconds = min(seconds, _number(value.strip('"')))
    return max(0.0, seconds - _number(headers.get("Age", "0")))


def _number(text: str) -> float:
    """Whole seconds; what is no number is none at all."""
    return float(text) if text.isdecimal() and text.isascii() and len(text) < 12 else 0.0
