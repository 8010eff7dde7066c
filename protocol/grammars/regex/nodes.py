"""What a regular expression is made of. Sets of characters are sorted ranges of code points, both
ends included."""

from collections.abc import Iterable
from typing import Literal

import msgspec

Ranges = tuple[tuple[int, int], ...]
Place = Literal["start", "end", "word", "inside"]

TOP = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)


class Chars(msgspec.Struct, frozen=True, tag=True):
    """One character of a set. `names` are further ones by Unicode property, as in `\\p{L}`."""

    ranges: Ranges
    names: tuple[str, ...] = ()
    negated: bool = False
    """Only where there are names: what is in neither."""


class Seq(msgspec.Struct, frozen=True, tag=True):
    parts: tuple["Node", ...]


class Alt(msgspec.Struct, frozen=True, tag=True):
    options: tuple["Node", ...]


class Repeat(msgspec.Struct, frozen=True, tag=True):
    node: "Node"
    least: int
    most: int | None


class At(msgspec.Struct, frozen=True, tag=True):
    """Where no character is taken: the text's start or end, a word's boundary, or anything but
    one."""

    place: Place


class Look(msgspec.Struct, frozen=True, tag=True):
    """What follows begins so, or does not."""

    node: "Node"
    wanted: bool


class All(msgspec.Struct, frozen=True, tag=True):
    """Never parsed; made of look-ahead."""

    parts: tuple["Node", ...]


class Not(msgspec.Struct, frozen=True, tag=True):
    """Never parsed; made of look-ahead."""

    node: "Node"


Node = Chars | Seq | Alt | Repeat | At | Look | All | Not

EMPTY = Seq(())
NOTHING = Alt(())


def union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sorted, merged where they touch."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """All other characters; surrogates are none."""
    out: list[tuple[int, int]] = []
    low = 0
    for first, last in union((*ranges, _SURROGATES)):
        if first > low:
            out.append((low, first - 1))
        low = last + 1
    if low <= TOP:
        out.append((low, TOP))
    return tuple(out)


ANY = Chars(complement(()))
ANYTHING = Repeat(ANY, 0, None)
DIGIT: Ranges = ((48, 57),)
WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
SPACE: Ranges = ((9, 13), (32, 32))
WIDE_SPACE = union((*SPACE, (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029),
    (0x202F, 0x202F),
                    (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)))  # fmt: skip


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Seq(parts) | All(parts):
            return parts
        case Alt(options):
            return options
        case Repeat(inner) | Look(inner) | Not(inner):
            return (inner,)
        case _:
            return ()


def looks_around(node: Node) -> bool:
    """Whether some part of it takes no character, but asks what is there."""
    return isinstance(node, At | Look) or any(looks_around(child) for child in children(node))
