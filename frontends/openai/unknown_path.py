"""What is said of a path at which nothing is: which there are, and which was meant. Pure."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

from ...protocol.errors import Failure

LONGEST = 64
"""Characters of a path that is compared with those there are."""
LIKE = 0.8
"""How alike the one that was meant is: one with a prefix too many or too few is still."""


def methods_of(routes: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The methods of every path that has no part to fill in; `routes`: (method, path)."""
    methods: dict[str, list[str]] = {}
    for method, path in routes:
        if "{" not in path:
            methods.setdefault(path, []).append(method)
    return methods


def no_path(path: str, methods: Mapping[str, Sequence[str]], there_is: str) -> Failure:
    """`methods`: by path, of those that may be meant. The caller's own words are not told."""
    near = _nearest(path, methods)
    meant = f" Did you mean {' or '.join(methods[near])} {near}?" if near else ""
    text = f"There is nothing at this path.{meant} There is {there_is}."
    return Failure("not_found", text, code="unknown_path")


def _nearest(path: str, known: Mapping[str, Sequence[str]]) -> str | None:
    if len(path) > LONGEST:
        return None
    plain = "/" + "/".join(part for part in path.lower().split("/") if part)
    return next(iter(difflib.get_close_matches(plain, known, n=1, cutoff=LIKE)), None)
