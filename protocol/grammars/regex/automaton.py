"""Removes what looks around from a regular expression: through an automaton of its derivatives, and
back to an expression.

A state is what may still follow, and whether a letter came last. Characters that nothing in the
expression tells apart are one letter of the automaton's alphabet.
"""

from collections.abc import Iterable
from typing import NamedTuple

from .nodes import (
    ANYTHING,
    EMPTY,
    NOTHING,
    TOP,
    WORD,
    All,
    Alt,
    At,
    Chars,
    Look,
    Node,
    Not,
    Ranges,
    Repeat,
    Seq,
    children,
    complement,
    union,
)
from .parse import PatternError

MAX_STATES = 150
MAX_SIZE = 40_000
"""Nodes of the expression that comes out."""
MAX_STEPS = 20_000
_TOO_LARGE = "looks around in a way that is too large to write without"
_EDGE, _WORD, _OTHER = 0, 1, 2


class State(NamedTuple):
    rest: Node
    before: int
    """What the last character was: _EDGE (none), _WORD or _OTHER."""


def without_looking(node: Node) -> Node:
    """An expression for the same texts, in which nothing looks around. Raises PatternError."""
    try:
        return _Automaton(node).expression()
    except RecursionError:
        raise PatternError(_TOO_LARGE) from None


def _spread(node: Node, rest: Node) -> Node:
    """`node` then `rest`, where a look-ahead is said of all that follows it."""
    if not _has_look(node):
        return _seq(node, rest)
    match node:
        case Seq(parts):
            for part in reversed(parts):
                rest = _spread(part, rest)
            return rest
        case Alt(options):
            return _alt([_spread(option, rest) for option in options])
        case Repeat(inner, least):
            once = _spread(inner, _seq(_fewer(node), rest))
            return _alt([once, rest]) if least == 0 else once
        case Look(inner, wanted):
            begun = _spread(inner, ANYTHING)
            return _all([begun if wanted else _not(begun), rest])
    raise AssertionError(node)


def _fewer(node: Repeat) -> Node:
    """What is left of a repetition after one."""
    if node.most == 1:
        return EMPTY
    return Repeat(node.node, max(0, node.least - 1), None if node.most is None else node.most - 1)


def _has_look(node: Node) -> bool:
    return isinstance(node, Look) or any(_has_look(child) for child in children(node))


class _Automaton:
    def __init__(self, node: Node) -> None:
        self._letters = _alphabet(node)
        self._steps = 0
        self._known: dict[tuple[Node, int, int], Node | None] = {}
        """None: being found."""
        self._start = State(node, _EDGE)
        self._edges: dict[State, dict[State, list[Ranges]]] = {}
        self._build()

    def _build(self) -> None:
        waiting = [self._start]
        while waiting:
            state = waiting.pop()
            if state in self._edges:
                continue
            if len(self._edges) >= MAX_STATES:
                raise PatternError(_TOO_LARGE)
            edges: dict[State, list[Ranges]] = {}
            for ranges in self._letters:
                rest = self._after(state.rest, state.before, ranges[0][0])
                if rest != NOTHING:
                    edges.setdefault(State(rest, _kind(ranges[0][0])), []).append(ranges)
            self._edges[state] = edges
            waiting += edges

    def _after(self, node: Node, before: int, char: int) -> Node:
        """What may follow once this character was taken."""
        key = (node, before, char)
        if key not in self._known:
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise PatternError(_TOO_LARGE)
            self._known[key] = None
            self._known[key] = self._derive(node, before, char)
        found = self._known[key]
        if found is None:
            text = "repeats a look-ahead that takes no character, which is not supported"
            raise PatternError(text)
        return found

    def _derive(self, node: Node, before: int, char: int) -> Node:
        match node:
            case Chars(ranges):
                return EMPTY if _holds(ranges, char) else NOTHING
            case Alt(options):
                return _alt([self._after(option, before, char) for option in options])
            case All(parts):
                return _all([self._after(part, before, char) for part in parts])
            case Not(inner):
                return _not(self._after(inner, before, char))
            case Look() | Repeat() if _has_look(node):
                return self._after(_spread(node, EMPTY), before, char)
            case Repeat(inner):
                fewer = _fewer(node)
                if isinstance(fewer, Repeat) and _may_be_empty(inner, before, _kind(char)):
                    # Those before this one may have been empty here, if nowhere else: `(?:a|^){2}`
                    # matches a single `a`.
                    fewer = Repeat(inner, 0, fewer.most)
                return _seq(self._after(inner, before, char), fewer)
            case Seq((first, *others)):
                rest = _seq(*others)
                if _has_look(first):
                    return self._after(_spread(first, rest), before, char)
                ways = [_seq(self._after(first, before, char), rest)]
                if _may_be_empty(first, before, _kind(char)):
                    ways.append(self._after(rest, before, char))
                return _alt(ways)
        return NOTHING

    def expression(self) -> Node:
        """States are taken out one by one, what led through them is written on the edges; the
        cheapest first."""
        into: dict[State | None, dict[State | None, Node]] = {None: {self._start: EMPTY}}
        for state, sets_of in self._edges.items():
            into[state] = {
                target: Chars(union(r for ranges in sets for r in ranges))
                for target, sets in sets_of.items()
            }
            if _may_be_empty(state.rest, state.before, _EDGE):
                into[state][None] = EMPTY
        while left := [state for state in into if state is not None]:
            counts = {state: sum(1 for edges in into.values() if state in edges) for state in left}
            victim = min(left, key=lambda state: counts[state] * len(into[state]))
            out = into.pop(victim)
            loop = out.pop(victim, None)
            for edges in into.values():
                if (way := edges.pop(victim, None)) is not None:
                    head = way if loop is None else _seq(way, Repeat(loop, 0, None))
                    for target, tail in out.items():
                        edges[target] = _alt([edges.get(target, NOTHING), _seq(head, tail)])
            if sum(_size(node) for edges in into.values() for node in edges.values()) > MAX_SIZE:
                raise PatternError(_TOO_LARGE)
        return into[None].get(None, NOTHING)


def _kind(char: int) -> int:
    return _WORD if _holds(WORD, char) else _OTHER


def _may_be_empty(node: Node, before: int, after: int) -> bool:
    """Between these two kinds of characters."""
    match node:
        case Seq(parts) | All(parts):
            return all(_may_be_empty(part, before, after) for part in parts)
        case Alt(options):
            return any(_may_be_empty(option, before, after) for option in options)
        case Repeat(inner, least):
            return least == 0 or _may_be_empty(inner, before, after)
        case Not(inner):
            return not _may_be_empty(inner, before, after)
        case Look(inner, wanted):  # only asked where nothing follows
            return _may_be_empty(inner, before, after) == wanted
        case At("start"):
            return before == _EDGE
        case At("end"):
            return after == _EDGE
        case At(place):
            return ((before == _WORD) != (after == _WORD)) == (place == "word")
    return False


def _alphabet(node: Node) -> list[Ranges]:
    """Sets of characters that nothing tells apart."""
    sets = _sets(node) | {WORD}
    edges = {edge for ranges in sets for low, high in ranges for edge in (low, high + 1)}
    cuts = sorted({0} | edges)
    if len(cuts) * len(sets) > 10 * MAX_STEPS:
        raise PatternError(_TOO_LARGE)
    letters: dict[frozenset[Ranges], list[tuple[int, int]]] = {}
    for low, after in zip(cuts, [*cuts[1:], TOP + 1], strict=True):
        if low < after:
            told = frozenset(ranges for ranges in sets if _holds(ranges, low))
            letters.setdefault(told, []).append((low, after - 1))
    return [
        ranges for found in letters.values() if (ranges := complement(complement(union(found))))
    ]


def _holds(ranges: Ranges, char: int) -> bool:
    return any(low <= char <= high for low, high in ranges)


def _sets(node: Node) -> set[Ranges]:
    if isinstance(node, Chars):
        if node.names:
            raise PatternError("looks around beside a Unicode property, which is not supported")
        return {node.ranges}
    return set().union(*(_sets(child) for child in children(node)))


def _seq(*nodes: Node) -> Node:
    if NOTHING in nodes:
        return NOTHING
    parts: list[Node] = []
    for node in nodes:
        for part in node.parts if isinstance(node, Seq) else (node,):
            if part != ANYTHING or parts[-1:] != [ANYTHING]:
                parts.append(part)
    return parts[0] if len(parts) == 1 else Seq(tuple(parts))


def _alt(options: Iterable[Node]) -> Node:
    flat = dict.fromkeys(
        inner
        for option in options
        for inner in (option.options if isinstance(option, Alt) else (option,))
    )
    if ANYTHING in flat:
        return ANYTHING
    return next(iter(flat)) if len(flat) == 1 else Alt(tuple(flat))


def _all(nodes: Iterable[Node]) -> Node:
    flat = dict.fromkeys(
        inner for node in nodes for inner in (node.parts if isinstance(node, All) else (node,))
    )
    flat.pop(ANYTHING, None)
    if NOTHING in flat:
        return NOTHING
    if not flat:
        return ANYTHING
    return next(iter(flat)) if len(flat) == 1 else All(tuple(flat))


def _not(node: Node) -> Node:
    if node == ANYTHING:
        return NOTHING
    return ANYTHING if node == NOTHING else Not(node)


def _size(node: Node) -> int:
    return 1 + sum(_size(child) for child in children(node))
