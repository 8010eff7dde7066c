"""/v1/embeddings: the inputs of one call go through the engine a few at a time. Until all are
there, so that any error still has its HTTP status, numbers are kept as bytes. They become text,
several times as long, as fast as the caller reads it."""

import asyncio
import base64
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
from aiohttp import web

from ....protocol.edges.scheduler_to_detokenizer import Vectors
from ...client.answer import Answer
from ...client.client import Client
from ...client.stream import Stream
from ...client.timeline import timeline_of
from ...inputs.scoring import naming
from ...inputs.submission import RequestGroup, submit
from ..access import TOLD
from ..answering import own_id_of
from ..answers.generate import CallMeter
from ..answers.writer import encode_json, told_of, usage
from ..app_state import APP_STATE, TENANT
from ..bodies.reading import EMBEDDING, OWN_ID_HEADER
from ..requests.common import Embedding
from ..traces.call import Remains, TimedRequest

log = logging.getLogger(__name__)

PIECE = 1 << 16
"""Bytes: texts are written together up to about so many."""
AT_ONCE = 64
"""Inputs of one call that are in the engine together: others' get places between them."""


async def embeddings(request: web.Request) -> web.StreamResponse:
    state, arrival = request.app[APP_STATE], time.monotonic()
    with state.working():
        body, inputs, headers = await state.read(request, EMBEDDING, generates=True)
        own_id = own_id_of(request, body.request_id)
        meter = CallMeter(state.metrics, arrival, request[TOLD])
        with vectorizing(request, arrival, own_id) as call:
            answers = await call.run(inputs)
            meter.end(answers)
            id = own_id or call.id
            meter.begin(id)
            now, model = int(time.time()), state.terms.model
            head = {"id": f"embd-{id}", "object": "list", "created": now, "model": model}
            tail = {"timeline": timeline_of(*told_of(answers), arrival)} if body.timeline else {}
            headers |= {"Content-Type": "application/json", OWN_ID_HEADER: id}
            return await send_pieces(
                request, headers, pieces(head, answers, body.encoding_format, tail)
            )


async def send_pieces(
    request: web.Request, headers: dict[str, str], body: Iterator[bytes]
) -> web.StreamResponse:
    """Each is made when its turn comes."""
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    try:
        for piece in body:
            await response.write(piece)
            # A caller who reads at once never has this wait, and others have their turns.
            await asyncio.sleep(0)
    except ConnectionError:
        request[TOLD].left = True
        log.debug("a caller went away")
    return response


def pieces(
    head: dict[str, object],
    answers: Sequence[Answer],
    form: str | None,
    tail: Mapping[str, object] | None = None,
) -> Iterator[bytes]:
    """The body: `head` with all vectors, each made into text when its turn comes. `tail`: what
    stands behind them, beside the usage."""
    told = usage(answers)
    del told["completion_tokens"]  # OpenAI's has none here
    gathered = encode_json(head)[:-1] + b',"data":['
    for index, answer in enumerate(answers):
        gathered += b"," * (index > 0) + _item(index, answer.pooled, form or "float")
        if len(gathered) >= PIECE:
            yield gathered
            gathered = b""
    yield gathered + b"]," + encode_json({"usage": told, **(tail or {})})[1:]


@contextmanager
def vectorizing(
    request: web.Request, arrival: float, own_id: str | None = None
) -> Iterator["Vectorizing"]:
    """One call, whose timeline is kept at its end. `own_id`: the caller's name for it."""
    state, tenant = request.app[APP_STATE], request[TENANT]
    call = Vectorizing(state.client, tenant)
    try:
        yield call
    finally:
        if call.asked:
            id, path = own_id or call.id, state.path_of(request)
            state.traces.note(id, tenant, path, arrival, call.asked, request.headers)


class Vectorizing:
    """The requests of one call."""

    def __init__(self, client: Client, tenant: str) -> None:
        self._client, self._tenant = client, tenant
        self._places = asyncio.Semaphore(max(1, min(AT_ONCE, client.admission.share.requests // 4)))
        self.id = ""
        """Of the first."""
        self.asked: list[TimedRequest] = []
        """All as far as they have been let in. Of those that were read, the prompts are gone."""

    async def run(self, inputs: Sequence[Embedding]) -> list[Answer]:
        """Only the first may be refused for want of room: the others wait. Raises the first
        error."""
        answers = [Answer(0) for _ in inputs]
        async with RequestGroup() as group:
            for index, given in enumerate(inputs):
                await self._places.acquire()
                wait, priority, tenant = index > 0, given.priority, self._tenant
                with naming(given.where):
                    stream = await submit(
                        self._client,
                        given,
                        given.pooling,
                        wait=wait,
                        tenant=tenant,
                        priority=priority,
                    )
                self.id = self.id or stream.id
                self.asked.append(stream)
                read = partial(self._read, index, stream, answers[index], given.where)
                group.read(stream, read)
        return answers

    async def _read(self, index: int, stream: Stream, answer: Answer, where: str) -> None:
        with naming(where):
            async for update in stream:
                answer.note(update)
        answer.sources = stream.sources
        self.asked[index] = Remains(stream.finished, stream.failure, stream.sources)
        self._places.release()


def _item(index: int, vectors: Vectors, form: str) -> bytes:
    """The bytes of base64 are float32, little endian, as OpenAI's clients read them."""
    if form == "base64":
        text = base64.b64encode(vectors.data)
        return b'{"object":"embedding","index":%d,"embedding":"%b"}' % (index, text)
    numbers = encode_json(np.frombuffer(vectors.data, "<f4").tolist())
    return b'{"object":"embedding","index":%d,"embedding":%b}' % (index, numbers)
