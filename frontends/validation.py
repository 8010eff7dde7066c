"""Refusals of values that do not have the type they should have, worded from msgspec's errors.
Pure."""

import re
from typing import Any

import msgspec

from ..protocol.errors import RequestError, invalid

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<key>key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(\w+)`")
_EXPECTED = re.compile(r"^Expected `([^`]+)`(?: >= 0)?, got `([^`]+)`$")


def wrong_field(text: str, root: str = "", within: str = "") -> RequestError:
    """The refusal for msgspec's error `text`. The field is named by its path behind `root`, or
    without the prefix `within`."""
    found = _AT.match(text)
    assert found is not None
    path = root + (found["path"] or "")
    path = path if root else path.lstrip(".").removeprefix(within)
    missing = _MISSING.search(found["what"])
    if missing:
        path = f"{path}.{missing[1]}" if path else missing[1]
        return invalid("This field is required.", path, "missing_field")
    expected = _EXPECTED.match(found["what"])
    words = (
        f"Expected {expected[1].removesuffix(' | null').replace(' | ', ' or ')}, got {expected[2]}."
        if expected
        else "The value is not valid."
    )
    return invalid(words, path or None, "wrong_type")


def check_numbers(value: Any, where: str) -> None:
    """Integers in JSON and in Python have no bounds; in messages they have 64 bits. Raises
    RequestError."""
    try:
        msgspec.msgpack.encode(value)
    except OverflowError:
        raise invalid("It holds a number beyond 64 bits.", where, "out_of_range") from None
