"""Refusals of values of a wrong type, worded from msgspec's errors. Pure."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ..protocol.errors import RequestError, invalid

MAX_DEPTH = 128
"""Lists and dicts within one another."""
_AT = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(\w+)`")
_EXPECTED = re.compile(r"^Expected `([^`]+)`(?: >= 0)?, got `([^`]+)`$")


def wrong_field(text: str, root: str = "", within: str = "") -> RequestError:
    """The refusal for msgspec's error `text`. The field is named behind `root`, or without
    `within`."""
    found = _AT.match(text)
    assert found is not None
    path = root + (found["path"] or "")
    path = path if root else path.lstrip(".").removeprefix(within)
    missing = _MISSING.search(found["what"])
    if missing:
        path = f"{path}.{missing[1]}" if path else missing[1]
        return invalid("This field is required.", path, "missing_field")
    expected = _EXPECTED.match(found["what"])
    words = "The value is not valid."
    if expected:
        wanted = expected[1].removesuffix(" | null").replace(" | ", " or ")
        words = f"{'Of its keys: e' if found['key'] else 'E'}xpected {wanted}, got {expected[2]}."
    return invalid(words, path or None, "wrong_type")


def check_depth(value: Any, where: str) -> None:
    """However deep its caller's own stack is. Raises RequestError."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = {id(one): one for one in level if isinstance(one, Mapping | list | tuple)}
        if not inner:
            return
        level = [
            child
            for one in inner.values()
            for child in (one.values() if isinstance(one, Mapping) else one)
        ]
    raise invalid(f"It nests deeper than {MAX_DEPTH} levels.", where, "out_of_range")


def check_numbers(value: Any, where: str) -> None:
    """Integers in messages have 64 bits; in JSON and Python any. Raises RequestError."""
    check_depth(value, where)
    try:
        msgspec.msgpack.encode(value)
    except OverflowError:
        raise invalid("It holds a number beyond 64 bits.", where, "out_of_range") from None
