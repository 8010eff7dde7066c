"""/v1/files: upload, list, look at, read and delete files of one's own."""

import logging
import os
from typing import Any
from urllib.parse import quote

from aiohttp import hdrs, web

from ....protocol.errors import RequestError
from ..answers.generate import json_response, send_whole
from ..answers.writer import encode_json
from ..app_state import APP_STATE, IGNORED_HEADER, TENANT, AppState
from ..bodies.multipart import Form, boundary_of
from ..errors import error_body
from ..stored.files import file_object, note_of
from ..stored.paging import page_of, read_page
from ..stored.store import Entry
from .form import MAX_FILE, Upload, too_large
from .warming import warm

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
        wanted = upload.warm
        entry = await upload.keep()
    told = file_object(entry)
    if wanted:
        told["warm"] = await _warmed(state, tenant, entry)
    headers = {IGNORED_HEADER: ", ".join(upload.ignored)} if upload.ignored else {}
    return json_response(told, headers)


async def _warmed(state: AppState, tenant: str, entry: Entry) -> dict[str, Any]:
    """It is stored, whatever becomes of this."""
    try:
        await warm(state, tenant, entry)
    except RequestError as error:
        return {"done": False, **error_body(error.failure)}
    return {"done": True}


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


async def delete_file(request: web.Request) -> web.StreamResponse:
    storage, id = request.app[APP_STATE].storage, request.match_info["id"]
    await storage.run(storage.files.remove, request[TENANT], id)
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
