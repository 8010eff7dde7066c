"""/v1/audio/transcriptions, /v1/audio/translations."""

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from aiohttp import hdrs, web

from ....protocol.errors import RequestError, refuse
from ...client.answer import Answer
from ...client.stream import Stream, Update
from ...client.wanted import check_wanted
from ...inputs.unread import Unread
from ..access import TOLD
from ..answering import own_id_of
from ..answers.generate import CallMeter
from ..answers.sse import EventStream
from ..app_state import APP_STATE, DRAFTS, TENANT, AppState
from ..bodies.multipart import Form, boundary_of
from ..bodies.reading import OWN_ID_HEADER, check_id, check_model
from ..errors import failure_of
from ..requests.transcription_prompts import asked_of
from ..requests.transcriptions import Task as Wish
from ..requests.transcriptions import Wanted, read_fields, read_wanted
from .form import FormSound, SoundForm
from .pieces import Hearing, PieceTask, cut
from .writer import TranscriptWriter

log = logging.getLogger(__name__)

Updates = AsyncGenerator[tuple[int, Stream, Update]]


async def transcriptions(request: web.Request) -> web.StreamResponse:
    return await _answer(request, "transcribe")


async def translations(request: web.Request) -> web.StreamResponse:
    return await _answer(request, "translate")


async def _answer(request: web.Request, wish: Wish) -> web.StreamResponse:
    state, arrival = request.app[APP_STATE], time.monotonic()
    model = state.config.client.model
    check_wanted(model, state.config.client.name, None)
    if "audio" not in model.placeholders:
        text = "The served model does not hear; this path needs one that takes sounds."
        raise refuse("unsupported", text, "model", "unsupported")
    with state.working():
        unread = Unread()
        sound, wanted = await _read(request, state, wish, unread)
        media, asked = state.client.media, asked_of(model.model_type, wanted)
        for name in asked.unused:
            unread.tell(name)
        headers = state.ignored(unread.told)
        media.adopt([sound.blob])
        media.share(sound.blob)
        try:
            hint = next((name for name in wanted.hints if name not in asked.unused), None)
            task = PieceTask(sound, asked.prompt, wanted, request[TENANT], hint)
            parts = await cut(state.client, task)
            writer = TranscriptWriter(wanted, parts.times, asked.mark)
            hearing = Hearing(state.client, task, parts)
            call = _Call(request, state, wanted, writer, hearing, arrival, headers)
            async with aclosing(hearing.updates()) as updates:
                return await call.answer(updates)
        finally:
            media.drop_bytes(sound.blob)


async def _read(
    request: web.Request, state: AppState, wish: Wish, unread: Unread
) -> tuple[FormSound, Wanted]:
    """The file, and what is wanted of it. `unread` gathers what is ignored. RequestError."""
    form = Form(boundary_of(request.headers[hdrs.CONTENT_TYPE]))
    reading = SoundForm(state.client.media, state.config.engine.mm_hasher_algorithm)
    drafts = request[DRAFTS] = []
    with state.client.admission.expecting(request.content_length or 0):
        async with state.bodies.counted(request) as pieces:
            try:
                sound = await reading.read(form, pieces)
            finally:
                if reading.draft is not None:
                    drafts.append(reading.draft)
            body = read_fields(reading.fields, unread)
            check_model(body.model, state.terms)
            check_id("request_id", body.request_id)
            wanted = read_wanted(body, wish)
    return sound, wanted


class _Call:
    """One call whose sound is cut."""

    def __init__(
        self,
        request: web.Request,
        state: AppState,
        wanted: Wanted,
        writer: TranscriptWriter,
        hearing: Hearing,
        arrival: float,
        headers: dict[str, str],
    ) -> None:
        self._request, self._state, self._wanted = request, state, wanted
        self._writer, self._hearing, self._arrival = writer, hearing, arrival
        self._headers = headers
        self._meter = CallMeter(state.metrics, arrival, request[TOLD])
        self._own_id = own_id_of(request, wanted.request_id)
        self._answers: list[Answer] = []
        self._last = -1

    async def answer(self, updates: Updates) -> web.StreamResponse:
        """Raises RequestError while nothing has been sent."""
        first = await anext(updates)
        self._begin()
        try:
            if self._wanted.stream:
                return await self._stream(first, updates)
            self._take(*first)
            async for came in updates:
                self._take(*came)
        finally:
            self._note()
        self._meter.end(self._answers, [1] * len(self._answers))
        body, content_type = self._writer.whole()
        return web.Response(
            body=body, content_type=content_type, charset="utf-8", headers=self._headers
        )

    def _begin(self) -> None:
        assert self._hearing.first is not None
        id = self._own_id or self._hearing.first.id
        self._meter.begin(id)
        self._headers = {OWN_ID_HEADER: id, **self._headers}
        self._state.metrics.wanted(1, self._wanted.max_tokens)

    def _note(self) -> None:
        request, first = self._request, self._hearing.first
        assert first is not None
        path = self._state.path_of(request)
        self._state.traces.note(
            self._headers[OWN_ID_HEADER], request[TENANT], path, self._arrival, [first],
            request.headers,
        )  # fmt: skip

    def _take(self, index: int, stream: Stream, update: Update) -> bytes:
        """The events of an update."""
        if index != self._last:
            self._last = index
            self._answers.append(Answer(0))
            self._writer.begin(index)
            if self._wanted.stream:
                self._meter.note_prompt(stream.prompt_tokens)
        self._meter.update(update)
        self._answers[-1].note(update)
        events = self._writer.add(update.choices)
        if update.finished is not None:
            events += self._writer.end(update.finished)
        return events

    async def _stream(
        self, came: tuple[int, Stream, Update], updates: Updates
    ) -> web.StreamResponse:
        out = EventStream(self._request, self._headers)
        await out.open()
        try:
            if events := self._take(*came):
                await out.write(events)
            async for came in updates:
                if events := self._take(*came):
                    await out.write(events)
            self._meter.end(self._answers, [1] * len(self._answers))
            await out.write(self._writer.done())
        except ConnectionError:
            self._meter.left()
            log.info("a caller went away")
        except Exception as error:
            failure = failure_of(error).failure
            self._meter.failed(failure)
            if not isinstance(error, RequestError):
                log.warning("a stream ended early")
            with suppress(ConnectionError):
                await out.write(self._writer.failed(failure))
        return out.response
