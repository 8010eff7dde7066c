"""The arguments of a call as an object, where an API wants no text. Pure."""

from typing import Any

import msgspec


def as_object(text: str) -> dict[str, Any] | None:
    """None: it is none, as when the answer was cut off in the middle of it."""
    try:
        value = msgspec.json.decode(text) if text.strip() else {}
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
