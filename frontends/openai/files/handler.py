"""/v1/files: upload, list, look at, read and delete files of one's own."""

import logging
import os
from collections.abc import Awaitable
from typing import Any, TypeVar
from urllib.parse import quote

from aiohttp import hdrs, web

from ....protocol.errors import RequestError
from ..answers.generate import json_response, send_whole
from ..answers.writer import encode_json
from ..app_state import APP_STATE, IGNORED_HEADER, TENANT
from ..bodies.multipart import Form, boundary_of
from ..errors import error_body
from ..stored.files import file_object, note_of
from ..stored.paging import page_of, read_page
from ..stored.store import Entry
from .form import MAX_FILE, Upload, too_large
from .pinning import check_folder, let_go, pin, unpin
from .warming import warm

T = TypeVar("T")
log = logging.getLogger(__name__)

PIECE = 1 << 18
"""Bytes of a file that are read at once."""
MOST_LISTED = 10_000
AROUND = 1 << 20
"""Bytes that a form may have beside its file."""


async def upload_file(request: web.Request) -> web.StreamResponse:
    state, tenant = request.app[APP_STATE], request[TENANT]
    storage, form = state.storage, Form(boundary_of(request.headers[hdrs.CONTENT_TYPE]))
    if (request.content_length or 0) > MAX_FILE + AROUND:
        raise too_large()
    async with storage.draft(storage.files, tenant) as draft:
        upload = Upload(storage, draft)
        await upload.read(form, state.bodies.pieces(request))
        warmed, pinned = upload.warm, upload.pin
        if pinned:
            check_folder(state)
        entry = await upload.keep()
    told = file_object(entry)
    if warmed or pinned:
        told["warm"], name = await _tried(warm(state, tenant, entry))
    if pinned:
        told["pin"] = told["warm"]
        if name is not None:
            told["pin"], _ = await _tried(pin(state, tenant, entry, name))
        told["pinned"] = told["pin"]["done"]
    headers = {IGNORED_HEADER: ", ".join(upload.ignored)} if upload.ignored else {}
    return json_response(told, headers)


async def _tried(work: Awaitable[T]) -> tuple[dict[str, Any], T | None]:
    """What is told of it, and what it came to: the file is stored, whatever becomes of this."""
    try:
        result = await work
    except RequestError as error:
        return {"done": False, **error_body(error.failure)}, None
    return {"done": True}, result


async def list_files(request: web.Request) -> web.StreamResponse:
    storage, purpose = request.app[APP_STATE].storage, request.query.get("purpose")
    page = read_page(request.query, MOST_LISTED, MOST_LISTED)

    def told(entry: Entry) -> dict[str, Any] | None:
        shown = file_object(entry)
        return shown if purpose in (None, shown["purpose"]) else None

    entries = storage.files.entries(request[TENANT], page.descending, page.after)
    listed = await page_of(storage, entries, page.limit, told)
    return await send_whole(request, [await storage.run(encode_json, listed)], {})


async def one_file(request: web.Request) -> web.StreamResponse:
    storage = request.app[APP_STATE].storage
    entry = await storage.run(storage.files.find, request[TENANT], request.match_info["id"])
    return json_response(file_object(entry))


async def pin_file(request: web.Request) -> web.StreamResponse:
    state, tenant, id = request.app[APP_STATE], request[TENANT], request.match_info["id"]
    entry = await state.storage.run(state.storage.files.find, tenant, id)
    return json_response(file_object(await pin(state, tenant, entry)))


async def unpin_file(request: web.Request) -> web.StreamResponse:
    state, tenant, id = request.app[APP_STATE], request[TENANT], request.match_info["id"]
    entry = await state.storage.run(state.storage.files.find, tenant, id)
    return json_response(file_object(await unpin(state, tenant, entry)))


async def delete_file(request: web.Request) -> web.StreamResponse:
    state, tenant, id = request.app[APP_STATE], request[TENANT], request.match_info["id"]
    await state.storage.run(state.storage.files.find, tenant, id)
    await let_go(state, tenant, id)
    await state.storage.run(state.storage.files.remove, tenant, id)
    await let_go(state, tenant, id)  # a pin that came between the two has found the file
    return json_response({"id": id, "object": "file", "deleted": True})


async def file_content(request: web.Request) -> web.StreamResponse:
    """The bytes, which no browser takes for a page of this server."""
    storage = request.app[APP_STATE].storage
    async with storage.opened(storage.files, request[TENANT], request.match_info["id"]) as (
        entry,
        file,
    ):
        response = web.StreamResponse(headers=_as_a_file(entry))
        response.content_length = entry.size
        try:
            await response.prepare(request)
            while piece := await storage.run(os.read, file, PIECE):
                await response.write(piece)
            await response.write_eof()
        except ConnectionError:
            log.info("a caller went away")
    return response


def _as_a_file(entry: Entry) -> dict[str, str]:
    name = quote(note_of(entry).filename, safe="", errors="replace")
    return {
        hdrs.CONTENT_TYPE: "application/octet-stream",
        hdrs.CONTENT_DISPOSITION: f"attachment; filename*=UTF-8''{name}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
    }
