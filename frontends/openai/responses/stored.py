"""/v1/responses/{id}: what was kept of a response, and to have it forgotten."""

from typing import Any

import msgspec
from aiohttp import web

from ....protocol.errors import invalid, refuse
from ..answers.generate import json_response, send_whole
from ..answers.writer import encode_json
from ..app_state import TENANT
from ..stored.paging import ListPage, list_object, read_page
from .items import ListedItem, ids_of, listed
from .kept import KEPT, KeptResponse

MOST_LISTED = 100


async def one_response(request: web.Request) -> web.StreamResponse:
    if request.query.get("stream", "false").lower() not in ("false", "0"):
        text = "A response that is over is not streamed again: ask for it without `stream`."
        raise refuse("unsupported", text, "stream", "unsupported")
    return await send_whole(request, [(await _found(request)).response], {})


async def delete_response(request: web.Request) -> web.StreamResponse:
    id = request.match_info["id"]
    await request.app[KEPT].remove(request[TENANT], id)
    return json_response({"id": id, "object": "response", "deleted": True})


async def input_items(request: web.Request) -> web.StreamResponse:
    page = read_page(request.query, 20, MOST_LISTED)
    kept = await _found(request)
    told = encode_json(_page(kept.items, request.match_info["id"], page))
    return await send_whole(request, [told], {})


async def cancel_response(request: web.Request) -> web.StreamResponse:
    await _found(request)
    text = "Only responses in the background can be cancelled; close the connection of another."
    raise invalid(text, code="unsupported")


async def _found(request: web.Request) -> KeptResponse:
    return await request.app[KEPT].find(request[TENANT], request.match_info["id"])


def _page(array: bytes, response: str, page: ListPage) -> dict[str, Any]:
    items = msgspec.json.decode(array, type=list[msgspec.Raw])
    ids = ids_of(msgspec.json.decode(array, type=list[ListedItem]), response)
    if page.descending:
        items, ids = items[::-1], ids[::-1]
    if page.after and page.after not in ids:
        raise invalid("There is no such item.", "after", "not_found")
    start = ids.index(page.after) + 1 if page.after else 0
    shown = slice(start, start + page.limit + 1)
    return list_object(list(map(listed, items[shown], ids[shown])), page.limit)
