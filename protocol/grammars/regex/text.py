"""Writes an expression as the grammar engine reads one: for a whole text, with characters by their
numbers."""

from .automaton import without_looking
from .nodes import ANYTHING, EMPTY, NOTHING, Alt, At, Chars, Look, Node, Repeat, Seq, looks_around
from .parse import PatternError, parse


def as_whole(pattern: str) -> list[str]:
    """For the texts that `pattern` matches from end to end: expressions that all must match. Raises
    PatternError."""
    node = _trimmed(_trimmed(parse(pattern), "start", 0), "end", -1)
    conditions, node = _conditions(node)
    parts = [*(Seq((condition, ANYTHING)) for condition in conditions), node]
    return [_written(without_looking(one) if looks_around(one) else one) for one in parts]


def as_search(pattern: str) -> list[str]:
    """For the texts in which `pattern` is found, as JSON Schema means it: all must match from end
    to end."""
    node = parse(pattern)
    if not _starts(node, "start", 0):
        return [_search(node)]
    conditions, node = _conditions(_trimmed(node, "start", 0))
    return [_search(Seq((At("start"), part))) for part in (*conditions, node)]


def _search(node: Node) -> str:
    inner = _trimmed(_trimmed(node, "start", 0), "end", -1)
    before = EMPTY if _starts(node, "start", 0) else ANYTHING
    if looks_around(inner):
        return _written(without_looking(Seq((before, node, ANYTHING))))
    after = EMPTY if _starts(node, "end", -1) else ANYTHING
    return _written(Seq((before, inner, after)))


def _conditions(node: Node) -> tuple[list[Node], Node]:
    """Of an expression that begins where the text does: what it looks ahead for there, and the
    rest."""
    parts = node.parts if isinstance(node, Seq) else (node,)
    found: list[Node] = []
    for index, part in enumerate(parts):
        if not (isinstance(part, Look) and part.wanted):
            return found, Seq(parts[index:])
        found.append(part.node)
    return found, EMPTY


def _starts(node: Node, place: str, index: int) -> bool:
    """Whether it can only match at this end of the text."""
    return (isinstance(node, At) and node.place == place) or (
        isinstance(node, Seq) and bool(node.parts) and _starts(node.parts[index], place, index)
    )


def _trimmed(node: Node, place: str, index: int) -> Node:
    """Without an anchor at its end."""
    if not _starts(node, place, index):
        return node
    if isinstance(node, At):
        return EMPTY
    assert isinstance(node, Seq)
    parts = list(node.parts)
    kept = _trimmed(parts.pop(index), place, index)
    if kept != EMPTY:
        parts.insert(0 if index == 0 else len(parts), kept)
    return parts[0] if len(parts) == 1 else Seq(tuple(parts))


def _written(node: Node) -> str:
    if node == NOTHING:
        raise PatternError("is one that no text matches")
    return _text(node)


def _text(node: Node) -> str:
    match node:
        case Chars():
            return _chars(node)
        case Seq(parts):
            return "".join(
                f"(?:{_text(one)})" if isinstance(one, Alt) else _text(one) for one in parts
            )
        case Alt(options):
            return "|".join(map(_text, options))
        case Repeat(inner, least, most):
            sign = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((least, most))
            many = str(least) if least == most else f"{least},{'' if most is None else most}"
            inner_text = _text(inner) if isinstance(inner, Chars) else f"(?:{_text(inner)})"
            return inner_text + (sign or f"{{{many}}}")
    raise AssertionError(node)


def _chars(node: Chars) -> str:
    if not node.ranges and not node.names:
        raise PatternError("has a set without characters")
    match node.ranges, node.names:
        case ((low, high),), () if low == high:
            return _char(low)
    listed = "".join(
        _char(low) if low == high else f"{_char(low)}-{_char(high)}" for low, high in node.ranges
    )
    return f"[{'^' if node.negated else ''}{listed}{''.join(node.names)}]"


def _char(code: int) -> str:
    char = chr(code)
    return char if char.isascii() and char.isalnum() else f"\\u{{{code:x}}}"
