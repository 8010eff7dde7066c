"""Responses that are kept for later calls, each key's own: what they said, and what was said to
them. They are written beside the answer, which waits for no disk, and are found here until then."""

import asyncio
import logging
from contextlib import suppress
from typing import NamedTuple

import msgspec
from aiohttp import web

from ....protocol.errors import Failure, RequestError, invalid, refuse
from ..app_state import APP_STATE
from ..stored.storage import Storage
from ..stored.store import Store

log = logging.getLogger(__name__)

KEPT_SECONDS = 30 * 24 * 3600.0
"""As long as at OpenAI; what is older goes, and the oldest when there is no room for a new one."""
MOST_BYTES = 16 << 20
"""Of one response with its input."""
MOST_WAITING = 64 << 20
"""Bytes of responses that wait for the disk; more are not kept."""
MOST_TURNS = 512
MOST_BEFORE = 32 << 20
"""Bytes of the responses of a conversation that is looked up."""
TRIES = 4
"""Others may take the room that was made."""


class Note(msgspec.Struct):
    """What is known of an entry beside its content."""

    previous: str | None
    response: int
    """Bytes of the response; the items of its input follow."""


class KeptResponse(NamedTuple):
    response: bytes
    """JSON, as its caller got it."""
    items: bytes
    """JSON array of its input."""
    previous: str | None

    @property
    def size(self) -> int:
        return len(self.response) + len(self.items)


class SaidItems(msgspec.Struct):
    """Of a response."""

    output: msgspec.Raw


class KeptResponses:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._waiting: dict[tuple[str, str], KeptResponse] = {}
        self._held = 0
        """Bytes of those that wait."""
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._told: set[str] = set()

    @property
    def has_room(self) -> bool:
        """Whether one more may be kept."""
        return self._storage.on and self._held < MOST_WAITING

    def keep(self, tenant: str, id: str, kept: KeptResponse) -> bool:
        """From here on it is found. False: it is too large, or too many wait for the disk."""
        if kept.size > MOST_BYTES or self._held + kept.size > MOST_WAITING:
            return False
        self._waiting[tenant, id] = kept
        self._held += kept.size
        self._tasks[tenant, id] = asyncio.create_task(self._write(tenant, id, kept))
        return True

    async def find(self, tenant: str, id: str) -> KeptResponse:
        """Raises RequestError 404."""
        if (kept := self._waiting.get((tenant, id))) is not None:
            return kept
        return await self._storage.run(_read, self._storage.responses, tenant, id)

    async def remove(self, tenant: str, id: str) -> None:
        """Raises RequestError 404."""
        if (task := self._tasks.get((tenant, id))) is not None:
            await asyncio.shield(task)
        await self._storage.run(self._storage.responses.remove, tenant, id)

    async def before(self, tenant: str, id: str) -> list[bytes]:
        """The items of a conversation up to and with this response, as JSON arrays. Raises
        RequestError, also where one of its turns is gone."""
        arrays: list[bytes] = []
        size = 0
        turn: str | None = id
        while turn is not None:
            try:
                kept = await self.find(tenant, turn)
            except RequestError as error:
                raise _not_found(error) from None
            size += kept.size  # what is read, be it of use or not
            if len(arrays) >= 2 * MOST_TURNS or size > MOST_BEFORE:
                text = (
                    f"The conversation has more than {MOST_TURNS} turns or {MOST_BEFORE >> 20} MiB."
                )
                raise invalid(text, "previous_response_id", "context_length_exceeded")
            arrays += [msgspec.json.decode(kept.response, type=SaidItems).output, kept.items]
            turn = kept.previous
        return [bytes(array) for array in reversed(arrays)]

    async def close(self) -> None:
        """What waits is written."""
        await asyncio.gather(*self._tasks.values())

    async def _write(self, tenant: str, id: str, kept: KeptResponse) -> None:
        try:
            await self._storage.run(_write, self._storage.responses, tenant, id, kept)
        except RequestError as error:
            if (code := error.failure.code or "") not in self._told:
                self._told.add(code)
                log.warning("a response could not be stored (%s)", code)
        except Exception:
            log.exception("a response could not be stored")
        finally:
            del self._waiting[tenant, id], self._tasks[tenant, id]
            self._held -= kept.size


def _not_found(error: RequestError) -> RequestError:
    failure = error.failure
    param = "previous_response_id"
    if failure.kind == "not_found":
        return refuse("not_found", failure.text, param, "previous_response_not_found")
    return RequestError(Failure(failure.kind, failure.text, param, failure.code))


def _read(store: Store, tenant: str, id: str) -> KeptResponse:
    entry, file = store.open(tenant, id)
    with open(file, "rb") as content:
        data = content.read(MOST_BYTES + 1)
    note = msgspec.json.decode(entry.note, type=Note)
    return KeptResponse(data[: note.response], data[note.response :], note.previous)


def _write(store: Store, tenant: str, id: str, kept: KeptResponse) -> None:
    for left in reversed(range(TRIES)):
        try:
            _add(store, tenant, id, kept)
            return
        except RequestError as error:
            if error.failure.code != "storage_full" or not left:
                raise
        _make_room(store, tenant, kept.size)


def _make_room(store: Store, tenant: str, nbytes: int) -> None:
    """As many of the key's oldest go as the new one has bytes."""
    for oldest in store.entries(tenant, descending=False):
        with suppress(RequestError):  # another writer has removed it
            store.remove(tenant, oldest.id)
            nbytes -= oldest.size
            if nbytes <= 0:
                return


def _add(store: Store, tenant: str, id: str, kept: KeptResponse) -> None:
    note = Note(kept.previous, len(kept.response))
    with store.begin(tenant) as draft:
        draft.write(kept.response)
        draft.write(kept.items)
        draft.keep(note, KEPT_SECONDS, id)


def keep_responses(app: web.Application) -> None:
    """For as long as the app runs."""
    app[KEPT] = kept = KeptResponses(app[APP_STATE].storage)

    async def close(_: web.Application) -> None:
        await kept.close()

    app.on_shutdown.append(close)


KEPT: web.AppKey[KeptResponses] = web.AppKey("kept", KeptResponses)
