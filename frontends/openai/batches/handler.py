"""/v1/batches: create, list, look at, cancel batches of one's own."""

import re
import secrets
import time
from typing import Any

import msgspec
from aiohttp import web

from ....protocol.errors import RequestError, invalid
from ..answers.generate import json_response, send_whole
from ..answers.writer import encode_json
from ..app_state import APP_STATE, TENANT, AppState
from ..bodies.reading import BATCH
from ..requests.batches import BatchRequest
from ..stored.files import BATCH_OUTPUT, seconds_until_over
from ..stored.folder import replace_file
from ..stored.paging import page_of, read_page
from ..stored.store import Entry
from .job import CANCEL, cancelled_at
from .note import BatchNote, batch_object, note_of
from .running import BATCHES

USUAL, MOST = 20, 100
_WINDOW = re.compile(r"([1-9][0-9]{0,2})h")
MOST_HOURS = 720


async def create_batch(request: web.Request) -> web.StreamResponse:
    state, tenant, batches = request.app[APP_STATE], request[TENANT], request.app[BATCHES]
    _, (asked,), headers = await state.read(request, BATCH)
    if asked.endpoint not in batches.handlers:
        text = f"Batches are for these paths: {', '.join(batches.handlers)}."
        raise invalid(text, "endpoint", "invalid_endpoint")
    storage = state.storage
    try:
        await storage.run(storage.files.find, tenant, asked.input_file_id)
    except RequestError as error:
        if error.failure.kind != "not_found":
            raise
        raise RequestError(msgspec.structs.replace(error.failure, part="input_file_id")) from None
    note = _note(asked, state.terms.model)
    entry = await storage.run(storage.batches.add, tenant, b"", note)
    batches.wake()
    return json_response(batch_object(entry, note), headers)


async def list_batches(request: web.Request) -> web.StreamResponse:
    state, tenant = request.app[APP_STATE], request[TENANT]
    page = read_page(request.query, USUAL, MOST)
    entries = state.storage.batches.entries(tenant, page.descending, page.after)
    listed = await page_of(
        state.storage, entries, page.limit, lambda entry: _shown(state, tenant, entry)
    )
    return await send_whole(request, [encode_json(listed)], {})


async def one_batch(request: web.Request) -> web.StreamResponse:
    state, id = request.app[APP_STATE], request.match_info["id"]
    told = await state.storage.run(_told, state, request[TENANT], id)
    request.app[BATCHES].watch()
    if (live := request.app[BATCHES].live(id)) is not None and not live.ended:
        told["request_counts"] = msgspec.to_builtins(live.counts)
    return json_response(told)


async def cancel_batch(request: web.Request) -> web.StreamResponse:
    state, tenant = request.app[APP_STATE], request[TENANT]
    id = request.match_info["id"]
    told = await state.storage.run(_cancel, state, tenant, id)
    request.app[BATCHES].wake()
    return json_response(told)


def _note(asked: BatchRequest, model: str) -> BatchNote:
    hours = _WINDOW.fullmatch(asked.completion_window)
    if hours is None or int(hours[1]) > MOST_HOURS:
        text = f"Expected hours, from 1h to {MOST_HOURS}h."
        raise invalid(text, "completion_window", "invalid_window")
    kept = None
    if (after := asked.output_expires_after) is not None:
        kept = seconds_until_over(after.anchor, after.seconds, BATCH_OUTPUT, "output_expires_after")
    return BatchNote(
        endpoint=asked.endpoint,
        input_file_id=asked.input_file_id,
        window=asked.completion_window,
        window_seconds=3600 * int(hours[1]),
        model=model,
        metadata=asked.metadata,
        output_seconds=kept,
    )


def _shown(state: AppState, tenant: str, entry: Entry) -> dict[str, Any]:
    place = state.storage.batches.place(tenant, entry.id)
    return batch_object(entry, note_of(entry), cancelled_at(place))


def _told(state: AppState, tenant: str, id: str) -> dict[str, Any]:
    return _shown(state, tenant, state.storage.batches.find(tenant, id))


def _cancel(state: AppState, tenant: str, id: str) -> dict[str, Any]:
    """Whoever runs it sees the mark, in whichever process that is."""
    entry = state.storage.batches.find(tenant, id)
    if not note_of(entry).ended:
        place = state.storage.batches.place(tenant, id)
        if cancelled_at(place) is None:
            draft = place / f"{CANCEL}.{secrets.token_hex(12)}"  # others may be at it, too
            replace_file(place / CANCEL, draft, f"{time.time():.3f}".encode())
    return _told(state, tenant, id)
