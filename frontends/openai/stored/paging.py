"""Lists of stored things, a page at a time, as OpenAI's clients turn them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ....protocol.errors import invalid
from .storage import Storage
from .store import Entry

_DIGITS = re.compile(r"[0-9]{1,9}")


class ListPage(NamedTuple):
    after: str = ""
    """The id after which it begins."""
    limit: int = 20
    descending: bool = True
    """The newest first."""


def read_page(query: Mapping[str, str], usual: int, most: int) -> ListPage:
    """Raises RequestError 400."""
    limit, order = query.get("limit", str(usual)), query.get("order", "desc")
    if not (_DIGITS.fullmatch(limit) and 1 <= int(limit) <= most):
        raise invalid(f"Expected a whole number from 1 to {most}.", "limit", "out_of_range")
    if order not in ("asc", "desc"):
        raise invalid("Expected asc or desc.", "order", "invalid_order")
    return ListPage(query.get("after", ""), int(limit), order == "desc")


async def page_of(
    storage: Storage,
    entries: Iterable[Entry],
    limit: int,
    told: Callable[[Entry], dict[str, Any] | None],
) -> dict[str, Any]:
    """`told`: an entry as its caller sees it; None: it does not belong to the list. It is called in
    a thread. Raises RequestError."""
    found: list[dict[str, Any]] = []

    def look() -> Iterator[None]:
        for entry in entries:
            if (shown := told(entry)) is not None:
                found.append(shown)
            if len(found) > limit:
                return
            yield

    await storage.run_through(look())
    return list_object(found, limit)


def list_object(found: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """`found`: one more than `limit`, where there are more."""
    data = found[:limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(found) > limit,
    }
