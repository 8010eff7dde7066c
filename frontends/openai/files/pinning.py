"""What was made of an uploaded file stays on disk, until the file is gone or its owner says so."""

import secrets

import msgspec

from ....actors.jobs.identity import pin_name
from ....protocol.errors import RequestError
from ....protocol.refusals import NO_FOLDER, NOT_KEPT
from ..app_state import AppState
from ..stored.files import note_of
from ..stored.store import Entry
from .warming import warm


def check_folder(state: AppState) -> None:
    """Raises RequestError where nothing is kept on disk."""
    if not _keeps(state):
        raise RequestError(NO_FOLDER)


async def pin(state: AppState, tenant: str, entry: Entry, name: str | None = None) -> Entry:
    """`name`: what `warm` has said; None: it is decoded and encoded if need be. Raises
    RequestError; then it is as it was, but for what is said of it."""
    check_folder(state)
    owner = pin_name(tenant, entry.id)
    if name is None:
        name = await warm(state, tenant, entry)
    try:
        await state.client.pin(tenant, owner, name, entry.expires)
    except RequestError as error:
        if error.failure.code != NOT_KEPT.code:
            raise
        # The disk has given it up while memory has it still: made anew, it is written.
        name = await warm(state, tenant, entry, era=f"pin {secrets.token_hex(8)}")
        await state.client.pin(tenant, owner, name, entry.expires)
    try:
        return await _noted(state, tenant, entry.id, True)
    except RequestError:  # it has been deleted meanwhile
        await state.client.unpin(owner)
        raise


async def unpin(state: AppState, tenant: str, entry: Entry) -> Entry:
    """Idempotent. Raises RequestError."""
    await let_go(state, tenant, entry.id)
    return await _noted(state, tenant, entry.id, False)


async def let_go(state: AppState, tenant: str, id: str) -> None:
    """Nothing stays on disk for a file that is about to be no more. Raises RequestError."""
    if _keeps(state):
        await state.client.unpin(pin_name(tenant, id))


def _keeps(state: AppState) -> bool:
    return bool(state.config.engine.encoder_cache_dir)


async def _noted(state: AppState, tenant: str, id: str, pinned: bool) -> Entry:
    """Raises RequestError where there is no such file any more."""
    storage = state.storage

    def note() -> Entry:
        entry = storage.files.find(tenant, id)
        told = note_of(entry)
        if told.pinned == pinned:
            return entry
        changed = msgspec.structs.replace(told, pinned=pinned)
        return storage.files.replace(tenant, entry, changed)

    return await storage.run(note)
