"""/v1/embeddings: the inputs of one call go through the engine a few at a time. Until all are
there, so that any error still has its HTTP status, numbers are kept as bytes. They become text,
several times as long, as fast as the caller reads it."""

import asyncio
import base64
import logging
import time
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from aiohttp import web

from ....protocol.edges.scheduler_to_detokenizer import Vectors
from ...client.answer import Answer
from ...client.client import Client
from ...client.stream import Stream
from ...inputs.submission import RequestGroup, submit
from ..access import TOLD
from ..answering import own_id_of
from ..answers.generate import CallMeter
from ..answers.writer import encode_json, usage
from ..app_state import APP_STATE, TENANT
from ..bodies.reading import EMBEDDING, OWN_ID_HEADER
from ..requests.common import Embedding

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
        first_id, answers = await run_inputs(state.client, request[TENANT], inputs)
        meter.end(answers)
        id = own_id or first_id
        meter.begin(id)
        now, model = int(time.time()), state.terms.model
        head = {"id": f"embd-{id}", "object": "list", "created": now, "model": model}
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", OWN_ID_HEADER: id, **headers}
        )
        await response.prepare(request)
        try:
            for piece in pieces(head, answers, body.encoding_format or "float"):
                await response.write(piece)
                # A caller who reads at once never has this wait, and others have their turns.
                await asyncio.sleep(0)
        except ConnectionError:
            log.info("a caller went away")
        return response


def pieces(head: dict[str, object], answers: Sequence[Answer], form: str) -> Iterator[bytes]:
    """The body: `head` with all vectors, each made into text when its turn comes."""
    told = usage(answers)
    del told["completion_tokens"]  # OpenAI's has none here
    gathered = encode_json(head)[:-1] + b',"data":['
    for index, answer in enumerate(answers):
        gathered += b"," * (index > 0) + _item(index, answer.pooled, form)
        if len(gathered) >= PIECE:
            yield gathered
            gathered = b""
    yield gathered + b'],"usage":' + encode_json(told) + b"}"


async def run_inputs(
    client: Client, tenant: str, inputs: Sequence[Embedding]
) -> tuple[str, list[Answer]]:
    """The id of the first request, and the answers. Only the first may be refused for want of room:
    the others wait. Raises the first error."""
    id, answers = "", [Answer(0) for _ in inputs]
    places = asyncio.Semaphore(max(1, min(AT_ONCE, client.admission.share.requests // 4)))

    async def read(index: int, stream: Stream) -> None:
        async for update in stream:
            answers[index].note(update)
        places.release()

    async with RequestGroup() as group:
        for index, given in enumerate(inputs):
            await places.acquire()
            wait, priority = index > 0, given.priority
            stream = await submit(
                client, given, given.pooling, wait=wait, tenant=tenant, priority=priority
            )
            id = id or stream.id
            group.read(stream, partial(read, index, stream))
    return id, answers


def _item(index: int, vectors: Vectors, form: str) -> bytes:
    """The bytes of base64 are float32, little endian, as OpenAI's clients read them."""
    if form == "base64":
        text = base64.b64encode(vectors.data)
        return b'{"object":"embedding","index":%d,"embedding":"%b"}' % (index, text)
    numbers = encode_json(np.frombuffer(vectors.data, "<f4").tolist())
    return b'{"object":"embedding","index":%d,"embedding":%b}' % (index, numbers)
