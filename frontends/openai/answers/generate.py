"""From prompts to the answer on the wire: submit, read, write. Each token passes here."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress

import msgspec
from aiohttp import web

from ....protocol.edges.detokenizer_to_client import PositionLogprobs
from ....protocol.errors import Failure, RequestError, invalid
from ...client.answer import Answer
from ...client.client import Client
from ...client.stream import Choice, Stream, Update
from ...inputs.submission import submit
from ..access import Told
from ..errors import failure_of
from ..metrics import Metrics
from ..requests.common import Generation
from .carried import CARRIED, Carried
from .sse import EventStream
from .writer import ResponseWriter, encode_json

log = logging.getLogger(__name__)

PIECE = 1 << 20
"""Bytes of an answer that are written in one turn of the loop."""
SCORES_AT_ONCE = 1 << 13
"""Log-probabilities that a stream writes in one turn."""
OF_PROMPTS = ("empty_prompt", "context_length_exceeded")
"""Codes of what a prompt is refused for."""
MOST_WHOLE = 256 << 20
"""Bytes of an answer that is not streamed: as many as a body has by default."""


class CallMeter:
    """Measures one call from its arrival: to the first token, between tokens, and to the end."""

    def __init__(self, metrics: Metrics, arrival: float, told: Told) -> None:
        self._metrics, self._told = metrics, told
        self._start = arrival
        self._last = 0.0

    def begin(self, id: str) -> None:
        """It is in the engine, and its caller will know it by `id`."""
        self._told.id, self._told.running = id, True

    def update(self, update: Update) -> None:
        if not (update.choices or update.finished):  # the prompt's own scores
            return
        now, told, most = time.monotonic(), self._told, 0
        for choice in update.choices:
            count = len(choice.token_ids)
            told.output_tokens += count
            most = max(most, count)
            if choice.finish_reason is not None:
                told.reasons.append(choice.finish_reason)
        if not self._last:
            told.first_token = now - self._start
            self._metrics.first_token.observe(told.first_token)
        elif most:
            self._metrics.inter_token.observe((now - self._last) / most)
        self._last = now

    def note_prompt(self, tokens: int) -> None:
        """One of its prompts has so many; it may never end."""
        self._told.prompt_tokens += tokens

    def failed(self, failure: Failure) -> None:
        """In the middle of its answer."""
        self._told.error = failure.code or failure.kind

    def left(self) -> None:
        """Its caller went away."""
        self._told.left = True

    def end(self, answers: Sequence[Answer], choices: Sequence[int] = ()) -> None:
        """`choices`: of each answer; none where vectors were wanted."""
        self._metrics.whole.observe(time.monotonic() - self._start)
        finished = [answer.finished for answer in answers if answer.finished is not None]
        self._told.prompt_tokens = sum(one.usage.prompt_tokens for one in finished)
        self._told.output_tokens = sum(one.completion_tokens for one in finished)
        for one, count in zip(finished, choices or [0] * len(finished), strict=False):
            self._metrics.finished(one, count)


async def submit_all(
    client: Client,
    generations: Sequence[Generation],
    tenant: str,
    stack: AsyncExitStack,
    streamed: bool,
    carried: Carried | None = None,
) -> list[Stream]:
    """All or none: if one is refused, `stack` cancels those before it."""
    if len(generations) > (most := client.admission.share.requests):
        text = (
            f"At most {most} prompts in one call: the engine takes no more requests at once "
            f"(--max-requests)."
        )
        raise invalid(text, "prompt", "too_many_prompts")
    streams: list[Stream] = []
    for number, generation in enumerate(generations):
        if streams:  # the first takes its place in the turn in which the door was open for it
            await asyncio.sleep(0)  # others get their turns: to send a long text takes long
        wanted, turn = generation.sampling, generation.priority
        given = None if carried is None else carried.given(number)
        with _naming(generation.where):
            stream = await submit(
                client,
                generation,
                wanted if given is None else wanted.replace(seed=given.seed),
                wait=False,
                tenant=tenant,
                priority=turn,
                streamed=streamed,
                so_far=() if given is None else given.so_far(),
            )
        stream.where = generation.where
        if given is not None:
            stream.skip_prompt(given.scored)
        streams.append(await stack.enter_async_context(stream))
    return streams


async def merged(streams: Sequence[Stream]) -> AsyncIterator[tuple[int, Update]]:
    """The updates of several streams as they come, each with the number of its stream."""
    if len(streams) == 1:
        while (update := await _next(streams[0])) is not None:
            yield 0, update
        return
    waiting = {asyncio.ensure_future(_next(stream)): index for index, stream in enumerate(streams)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                index = waiting.pop(task)
                came = task.result()
                if came is not None:
                    waiting[asyncio.ensure_future(_next(streams[index]))] = index
                    yield index, came
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _next(stream: Stream) -> Update | None:
    with _naming(stream.where):
        return await anext(stream, None)


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """What the prompt itself is refused for names it. Raises RequestError."""
    try:
        yield
    except RequestError as error:
        failure = error.failure
        if not where or failure.part is not None or failure.code not in OF_PROMPTS:
            raise
        raise RequestError(msgspec.structs.replace(failure, part=where)) from None


async def answer_whole(
    streams: Sequence[Stream], writer: ResponseWriter, sizes: Sequence[int], meter: CallMeter
) -> list[bytes]:
    """The body of an answer not streamed, in pieces. Raises RequestError for one too large."""
    answers = [Answer(n) for n in sizes]
    gathered = 0
    begun: set[int] = set()
    async for source, update in merged(streams):
        meter.update(update)
        if source not in begun:
            begun.add(source)
            _begin(writer, source, streams[source])
        gathered += writer.gather(source, update)
        _check_whole(gathered)
        answers[source].add(update)
    for answer, stream in zip(answers, streams, strict=True):
        answer.prompt_token_ids, answer.sources = stream.prompt_token_ids, stream.sources
    meter.end(answers, sizes)
    pieces, size = [], 0
    for piece in writer.whole(answers):
        pieces.append(piece)
        size += len(piece)
        _check_whole(size)
        await asyncio.sleep(0)  # others have their turns
    return pieces


def _begin(writer: ResponseWriter, source: int, stream: Stream) -> None:
    if stream.prepared is not None:
        writer.begin(source, stream.prepared.sampling)


def json_response(
    body: object, headers: dict[str, str] | None = None, status: int = 200
) -> web.Response:
    return web.Response(
        body=encode_json(body), status=status, content_type="application/json", headers=headers
    )


async def send_whole(
    request: web.Request, pieces: Sequence[bytes], headers: dict[str, str]
) -> web.StreamResponse:
    """A large one as fast as its caller reads: to copy it in one go takes all others' time."""
    size = sum(map(len, pieces))
    if size <= PIECE:
        return web.Response(body=b"".join(pieces), content_type="application/json", headers=headers)
    response = web.StreamResponse(headers={"Content-Type": "application/json", **headers})
    response.content_length = size
    await response.prepare(request)
    try:
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0)  # a caller who reads at once never has this wait
    except ConnectionError:
        log.info("a caller went away")
    return response


def _check_whole(size: int) -> None:
    if size > MOST_WHOLE:
        text = (
            f"The answer has more than {MOST_WHOLE >> 20} MiB: ask for fewer log-probabilities "
            f"or choices, or for a stream."
        )
        raise invalid(text, code="answer_too_large")


async def answer_stream(
    request: web.Request,
    streams: Sequence[Stream],
    writer: ResponseWriter,
    sizes: Sequence[int],
    meter: CallMeter,
    headers: dict[str, str],
) -> web.StreamResponse:
    """Server-sent events. An error before the first update still has its HTTP status."""
    answers, carried = [Answer(0) for _ in streams], request.get(CARRIED)
    updates = merged(streams)
    seen: set[int] = set()
    source, update = await anext(updates)
    out = EventStream(request, headers)
    await out.open()
    try:
        while True:
            meter.update(update)
            events = b""
            if source not in seen:
                seen.add(source)
                meter.note_prompt(streams[source].prompt_tokens)
                events = _first(writer, source, streams[source], sizes[source], carried)
            await _write(out, writer, source, update, events, carried)
            answers[source].note(update)
            answers[source].sources = streams[source].sources
            try:
                source, update = await anext(updates)
            except StopAsyncIteration:
                break
        meter.end(answers, sizes)
        events = writer.last(answers)
        if carried is not None:
            carried.end(len(events))
        await out.write(events)
    except ConnectionError:
        meter.left()
        log.info("a caller went away")
    except Exception as error:
        failure = failure_of(error).failure
        meter.failed(failure)
        if not isinstance(error, RequestError):
            log.warning("a stream ended early")
        if carried is not None and carried.leave(failure):
            return out.response
        events = writer.failed(failure)
        if carried is not None:
            carried.end(len(events))
        with suppress(ConnectionError):
            await out.write(events)
    return out.response


def _first(
    writer: ResponseWriter, source: int, stream: Stream, n: int, carried: Carried | None
) -> bytes:
    """The events before a prompt's first text."""
    _begin(writer, source, stream)
    events = writer.first(source, stream.prompt_token_ids, stream.prompt_tokens)
    return events if carried is None else carried.begin(source, stream, writer, n, events)


async def _write(
    out: EventStream,
    writer: ResponseWriter,
    source: int,
    update: Update,
    events: bytes,
    carried: Carried | None,
) -> None:
    """The events of one update, behind those that are there already."""
    for part in in_turns(update):
        events += writer.events(source, part)
        if events and carried is None:  # else it goes in one piece with what is told of it
            await out.write(events)
            events = b""
        if part is not update:
            await asyncio.sleep(0)  # others have their turns
    if carried is not None:
        carried.note(source, update, len(events))
        if events:
            await out.write(events)


def in_turns(update: Update) -> Iterator[Update]:
    """What was merged while its caller did not read, in parts that are soon written."""
    scores = (_scores(position) for choice in update.choices for position in choice.logprobs)
    if sum(scores) <= SCORES_AT_ONCE:
        yield update
        return
    for choice in update.choices:
        step = tokens = max(1, len(choice.token_ids))
        if choice.logprobs:
            step = max(1, SCORES_AT_ONCE // _scores(choice.logprobs[0]))
        for start in range(0, tokens, step):
            end = start + step
            ids, scored = choice.token_ids[start:end], choice.logprobs[start:end]
            part = Choice(choice.index, "" if start else choice.text, ids, scored)
            if end >= len(choice.token_ids):
                part.finish_reason, part.stop_reason = choice.finish_reason, choice.stop_reason
            yield Update([part])


def _scores(position: PositionLogprobs) -> int:
    return 1 + len(position.top)
