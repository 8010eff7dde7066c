"""How long a server lets its answer be used without being asked, and by what it knows the answer
again: its headers, read with care. Pure."""

import math
import re
from collections.abc import Mapping

import msgspec

_NOT_KEPT = frozenset({"no-store", "private"})
_NOT_FRESH = _NOT_KEPT | {"no-cache"}
_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e]{0,200}"')
_DATE = re.compile(r"[A-Za-z0-9,: +-]{1,40}")


class Validators(msgspec.Struct, frozen=True):
    """By which its server can be asked whether an answer still holds."""

    tag: str = ""
    date: str = ""

    def __bool__(self) -> bool:
        return bool(self.tag or self.date)

    @property
    def question(self) -> dict[str, str]:
        """The headers that ask."""
        asked = {"If-None-Match": self.tag, "If-Modified-Since": self.date}
        return {name: value for name, value in asked.items() if value}


NONE = Validators()
"""Its server has given none."""


def validators_of(headers: Mapping[str, str]) -> Validators:
    """What is not in the form that it must have is none."""
    tag, date = headers.get("ETag", ""), headers.get("Last-Modified", "")
    return Validators(tag if _TAG.fullmatch(tag) else "", date if _DATE.fullmatch(date) else "")


def may_be_kept(headers: Mapping[str, str]) -> bool:
    """Its server does not forbid it, and no answer to another question was meant."""
    names = {directive.partition("=")[0].strip() for directive in _directives(headers)}
    return not names & _NOT_KEPT and "*" not in headers.get("Vary", "")


def _directives(headers: Mapping[str, str]) -> list[str]:
    return headers.get("Cache-Control", "").lower().split(",")


def fresh_seconds(headers: Mapping[str, str]) -> float:
    """0: not without being asked; infinity: the server says nothing, and the operator's bound holds
    alone."""
    seconds = math.inf
    for directive in _directives(headers):
        name, _, value = (part.strip() for part in directive.partition("="))
        if name in _NOT_FRESH:
            return 0.0
        if name in ("max-age", "s-maxage"):
            seconds = min(seconds, _number(value.strip('"')))
    return max(0.0, seconds - _number(headers.get("Age", "0")))


def _number(text: str) -> float:
    """Whole seconds; what is no number is none at all."""
    return float(text) if text.isdecimal() and text.isascii() and len(text) < 12 else 0.0
