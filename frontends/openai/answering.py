"""What the APIs that generate text share: options of an answer, how it is made, and what its prompt
would cost."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

from aiohttp import web

from ..inputs.previews import WANTED, MediaPreview, preview_of
from ..inputs.submission import submit
from .access import TOLD
from .answers.carried import CARRIED, created_of
from .answers.generate import CallMeter, answer_stream, answer_whole, send_whole, submit_all
from .answers.writer import AnswerOptions, ResponseWriter
from .app_state import APP_STATE, TENANT
from .bodies.reading import OWN_ID_HEADER, check_id
from .requests.common import Generation
from .requests.schema import Common


def options_of(
    request: web.Request, body: Common, arrival: float, generation: Generation, **more: Any
) -> AnswerOptions:
    """`more`: fields of AnswerOptions that one API alone has."""
    return AnswerOptions(
        created=created_of(request),
        arrival=arrival,
        model=request.app[APP_STATE].terms.model,
        n=generation.sampling.n,
        logprobs=generation.sampling.logprobs,
        prompt_logprobs=body.prompt_logprobs is not None,
        return_token_ids=bool(body.return_token_ids),
        include_usage=(told := bool(body.stream_options and body.stream_options.include_usage)),
        continuous_usage=told
        and bool(body.stream_options and body.stream_options.continuous_usage_stats),
        tokens_as_ids=bool(body.return_tokens_as_token_ids),
        return_timings=bool(body.return_timings),
        timeline=bool(body.timeline),
        **more,
    )


class Asked(Protocol):
    """What `answer` has to know of a body."""

    stream: bool | None
    request_id: str | None


async def answer(
    request: web.Request,
    body: Asked,
    generations: Sequence[Generation],
    arrival: float,
    writer_for: Callable[[str], ResponseWriter],
    headers: dict[str, str],
) -> web.StreamResponse:
    """`writer_for`: makes the writer of an id. Raises RequestError while nothing has been sent."""
    state, own_id = request.app[APP_STATE], own_id_of(request, body.request_id)
    carried = request.get(CARRIED)
    meter = CallMeter(state.metrics, arrival, request[TOLD])
    async with AsyncExitStack() as stack:
        streams = await submit_all(
            state.client, generations, request[TENANT], stack, bool(body.stream), carried
        )
        id = own_id or (streams[0].id if carried is None else carried.so_far.id)
        meter.begin(id)
        path = state.path_of(request)
        stack.callback(
            state.traces.note, id, request[TENANT], path, arrival, streams, request.headers
        )
        writer, headers = writer_for(id), {OWN_ID_HEADER: id, **headers}
        sizes = [generation.sampling.n for generation in generations]
        for generation in generations:
            state.metrics.wanted(generation.sampling.n, generation.sampling.max_tokens)
        if body.stream:
            return await answer_stream(request, streams, writer, sizes, meter, headers)
        return await send_whole(request, await answer_whole(streams, writer, sizes, meter), headers)


async def preview(request: web.Request, asked: Generation) -> MediaPreview:
    """What it would cost, from the headers of its media alone. Raises RequestError."""
    client = request.app[APP_STATE].client
    tenant, turn = request[TENANT], asked.priority
    stream = await submit(
        client, asked, WANTED, wait=False, tenant=tenant, priority=turn, streamed=False
    )
    async with stream:
        return await preview_of(stream, client)


async def prompt_tokens(request: web.Request, asked: Generation) -> int:
    """Of text and media together. Raises RequestError."""
    if asked.media:
        return (await preview(request, asked)).prompt_tokens
    return len((await request.app[APP_STATE].client.tokenize(asked.prompt)).token_ids)


def own_id_of(request: web.Request, told: str | None) -> str | None:
    """The caller's name for the request, of the header, else of the body. It only comes back:
    inside, ids are ours, so that nobody's can be taken. Raises RequestError 400."""
    id = request.headers.get(OWN_ID_HEADER)
    check_id(OWN_ID_HEADER, id)
    return told if id is None else id
