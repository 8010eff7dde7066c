"""Refusals of values of a wrong type, worded from msgspec's errors. Pure."""

import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import msgspec

from ..protocol.errors import RequestError, invalid

MAX_DEPTH = 128
"""Lists and dicts within one another."""
_LEAVES = frozenset({str, int, float, bool, type(None)})
"""Types of nearly all that a body holds: to ask them what they are otherwise takes 20 ms of a small
one, and the server reads those by itself."""
_MAPPINGS = (dict, Mapping)
_HOLDERS = (list, tuple, *_MAPPINGS)
_AT = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(\w+)`")
_EXPECTED = re.compile(r"^Expected `([^`]+)`(?: >= 0)?, got `([^`]+)`$")
_BEYOND = re.compile(r"^Expected `([^`]+)`((?: of length)? [<>]=? [-\d.]+)$")
_LARGE = "Number out of range"


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
    words, code = "The value is not valid.", "wrong_type"
    begin = "Of its keys: expected" if found["key"] else "Expected"
    if found["what"] == _LARGE:
        words, code = "The number is out of range.", "out_of_range"
    elif beyond := _BEYOND.match(found["what"]):
        words, code = f"{begin} {beyond[1]}{beyond[2]}.", code if found["key"] else "out_of_range"
    elif expected := _EXPECTED.match(found["what"]):
        wanted = expected[1].removesuffix(" | null").replace(" | ", " or ")
        words = f"{begin} {wanted}, got {expected[2]}."
    return invalid(words, path or None, code)


def text_field(given: Mapping[str, Any], name: str, where: str) -> str:
    """A field of the object at `where`. Raises RequestError where it is missing, or no text."""
    return expect_text(given.get(name), f"{where}.{name}")


def expect_text(value: Any, where: str) -> str:
    """Raises RequestError where it is missing, or no text."""
    if value is None:
        raise invalid("This field is required.", where, "missing_field")
    if not isinstance(value, str):
        raise invalid("Expected str.", where, "wrong_type")
    return value


def check_depth(value: Any, where: str) -> None:
    """However deep its caller's own stack is. Raises RequestError."""
    level: Iterable[Any] = (value,)
    for _ in range(MAX_DEPTH + 1):
        rest = [one for one in level if type(one) not in _LEAVES]
        inner = {id(one): one for one in rest if isinstance(one, _HOLDERS)}
        if not inner:
            return
        level = chain.from_iterable(
            one.values() if isinstance(one, _MAPPINGS) else one for one in inner.values()
        )
    raise invalid(f"It nests deeper than {MAX_DEPTH} levels.", where, "out_of_range")


def check_sendable(value: Any, where: str) -> None:
    """Integers in messages have 64 bits; in JSON and Python any. Raises RequestError, also for what
    no message can hold."""
    check_depth(value, where)
    try:
        msgspec.msgpack.encode(value)
    except OverflowError:
        raise invalid("It holds a number beyond 64 bits.", where, "out_of_range") from None
    except (TypeError, ValueError):
        text = "It holds a value that cannot be sent: text that is not Unicode, or an odd object."
        raise invalid(text, where, "wrong_type") from None
