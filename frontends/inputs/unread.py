"""What callers write and nobody reads: told over HTTP, refused from Python. Pure."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from ...protocol.errors import invalid

MOST_TOLD = 64
"""Names that a caller is told; of more, their number."""
LONGEST = 96
"""Characters of one name, with its path."""


class Unread:
    """Gathers the names of one request's unread keys."""

    def __init__(self, strict: bool = False) -> None:
        """`strict`: the first one is refused."""
        self._strict = strict
        self._paths: dict[str, None] = {}
        self._more = 0

    def check(self, given: Mapping[Any, Any], known: Collection[str], where: str = "") -> None:
        """Of the object at `where`, the keys that are not `known`; null says nothing.
        RequestError."""
        for key, value in given.items():
            if value is not None and key not in known:
                if self._strict:
                    raise invalid(
                        f"Unknown key {key!r:.80}{suggestion(key, known)}",
                        where or None,
                        "unknown_key",
                    )
                self.tell(f"{where}.{key}" if where else str(key))

    def tell(self, path: str) -> None:
        """Note one that is known and has no effect, whoever sent it."""
        told = quote(path[:LONGEST], safe="[]._-")
        if len(self._paths) < MOST_TOLD:
            self._paths[told] = None
        elif told not in self._paths:
            self._more += 1

    @property
    def told(self) -> list[str]:
        """The names, as a header can hold them: what is no plain word is percent-encoded."""
        return [*self._paths, *([f"and-{self._more}-more"] if self._more else ())]


def suggestion(name: Any, known: Iterable[str]) -> str:
    """The end of a sentence about a wrong name: what may have been meant, else what there is."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name)[:LONGEST], names, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names) or 'none'}."
