"""Lists of stored things, a page at a time, as OpenAI's clients turn them. Pure but for what
`things` reads."""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from ....protocol.errors import invalid

T = TypeVar("T")


class ListPage(NamedTuple):
    after: str = ""
    """The id after which it begins."""
    limit: int = 20
    descending: bool = True
    """The newest first."""


def read_page(query: Mapping[str, str], usual: int, most: int) -> ListPage:
    """Raises RequestError 400."""
    limit, order = query.get("limit", str(usual)), query.get("order", "desc")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= most):
        raise invalid(f"Expected a whole number from 1 to {most}.", "limit", "out_of_range")
    if order not in ("asc", "desc"):
        raise invalid("Expected asc or desc.", "order", "invalid_order")
    return ListPage(query.get("after", ""), int(limit[:9]), order == "desc")


def page_of(
    things: Iterable[T], limit: int, told: Callable[[T], dict[str, Any] | None]
) -> dict[str, Any]:
    """`told`: a thing as its caller sees it; None: it does not belong to the list."""
    shown = filter(None, map(told, things))
    found = list(islice(shown, limit + 1))
    data = found[:limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(found) > limit,
    }
