"""A call with the items that are stored of earlier ones."""

import msgspec
from aiohttp import web

from ....protocol.errors import RequestError, refuse
from ...inputs.submission import Submission
from ..app_state import APP_STATE, TENANT
from ..bodies.reading import STORED_ITEMS, check_size
from ..requests.responses import ResponseCall, ResponseRequest, completed, references
from .items import place_of
from .kept import KEPT, MOST_BEFORE, SaidItems

MOST_REFERENCES = 1024
"""Items that one call names. With the responses that hold them they have MOST_BEFORE bytes."""
_Items = list[msgspec.Raw]


async def with_stored(
    request: web.Request, body: ResponseRequest, asked: ResponseCall
) -> ResponseCall:
    """Raises RequestError where something that it names is not stored for this key."""
    kept, tenant, named = request.app[KEPT], request[TENANT], references(asked)
    earlier: list[bytes] = []
    if body.previous_response_id is not None:
        arrays = await kept.before(tenant, body.previous_response_id)
        earlier = [array[1:-1] for array in arrays if len(array) > 2]
    if named:
        earlier += map(bytes, await _items(request, named))
    pieces: list[Submission] = []
    if earlier:
        data = b'{"items":[' + b",".join(earlier) + b"]}"
        pieces = await request.app[APP_STATE].read_stored(request, STORED_ITEMS, data)
    count = len(pieces) - len(named)
    whole = completed(asked, pieces[:count], pieces[count:])
    check_size(whole, request.app[APP_STATE].terms)
    return whole


async def _items(request: web.Request, ids: list[str]) -> _Items:
    """Those that are named, in this order."""
    if len(ids) > MOST_REFERENCES:
        text = f"At most {MOST_REFERENCES} items of other responses."
        raise refuse("too_large", text, "input", "body_too_complex")
    lists: dict[tuple[str, str], _Items] = {}
    found: _Items = []
    size = 0
    for id in ids:
        place = place_of(id)
        if place is None:
            raise _unknown()
        if (place.response, place.side) not in lists:
            try:
                kept = await request.app[KEPT].find(request[TENANT], place.response)
            except RequestError as error:
                raise _unknown() if error.failure.kind == "not_found" else error from None
            size = _within(size + kept.size)
            output = msgspec.json.decode(kept.response, type=SaidItems).output
            lists[place.response, "o"] = msgspec.json.decode(output, type=_Items)
            lists[place.response, "i"] = msgspec.json.decode(kept.items, type=_Items)
        items = lists[place.response, place.side]
        if place.number >= len(items):
            raise _unknown()
        size = _within(size + len(items[place.number]))  # one may be named again and again
        found.append(items[place.number])
    return found


def _within(size: int) -> int:
    """Before more is held. Raises RequestError."""
    if size > MOST_BEFORE:
        text = f"The items that are named, with their responses, have over {MOST_BEFORE >> 20} MiB."
        raise refuse("too_large", text, "input", "body_too_complex")
    return size


def _unknown() -> RequestError:
    text = "An `item_reference` names an item that is not stored for this key."
    return refuse("not_found", text, "input", "item_not_found")
