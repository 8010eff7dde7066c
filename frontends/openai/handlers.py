"""/v1/chat/completions and /v1/completions."""

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web

from ...protocol.request import TextPrompt, TokenPrompt
from .answers.generate import Meter, answer_stream, answer_whole, submit_all
from .answers.writer import Options, Shape
from .app_state import SERVICE, TENANT, Service
from .bodies.reading import CHAT, COMPLETION, check_id
from .chat.writer import ChatShape
from .completions.writer import CompletionShape
from .requests.parse import Generation, prompt_only
from .requests.schema import ChatRequest, Common


async def chat_completions(request: web.Request) -> web.StreamResponse:
    service, arrival = request.app[SERVICE], time.monotonic()
    with service.working():
        body, (generation,), headers = await service.read(request, CHAT, generates=True)
        options = _options(service, body, arrival, generation, tools=generation.tools)
        return await _answer(request, service, body, [generation], options, headers)


async def completions(request: web.Request) -> web.StreamResponse:
    service, arrival = request.app[SERVICE], time.monotonic()
    with service.working():
        body, generations, headers = await service.read(request, COMPLETION, generates=True)
        echo = tuple(_prompt_text(service, generation) for generation in generations) if body.echo else None
        options = _options(service, body, arrival, generations[0], echo=echo, prompt_only=prompt_only(body))
        return await _answer(request, service, body, generations, options, headers)


def _options(service: Service, body: Common, arrival: float, generation: Generation, **more: Any) -> Options:
    return Options(
        created=int(time.time()),
        arrival=arrival,
        model=service.config.name,
        n=generation.sampling.n,
        logprobs=generation.sampling.logprobs,
        prompt_logprobs=body.prompt_logprobs is not None,
        return_token_ids=bool(body.return_token_ids),
        include_usage=(told := bool(body.stream_options and body.stream_options.include_usage)),
        continuous_usage=told and bool(body.stream_options and body.stream_options.continuous_usage_stats),
        tokens_as_ids=bool(body.return_tokens_as_token_ids),
        return_timings=bool(body.return_timings),
        **more,
    )


def _own_id(request: web.Request, body: Common) -> str | None:
    """The caller's name for the request: of the header, else of the body. It only comes back; inside, requests have ids of
    ours, so that nobody's can be taken. Raises RequestError 400."""
    id = request.headers.get("X-Request-Id")
    check_id("X-Request-Id", id)
    return body.request_id if id is None else id


def _prompt_text(service: Service, generation: Generation) -> str:
    match generation.prompt:
        case TextPrompt(text):
            return text
        case TokenPrompt(token_ids):
            return service.detokenize(token_ids)
    raise AssertionError("neither a chat nor embeddings have an echo")


async def _answer(
    request: web.Request,
    service: Service,
    body: Common,
    generations: Sequence[Generation],
    options: Options,
    headers: dict[str, str],
) -> web.StreamResponse:
    own_id = _own_id(request, body)
    meter = Meter(service.metrics, options.arrival)
    async with AsyncExitStack() as stack:
        streams = await submit_all(service.client, generations, request[TENANT], stack, bool(body.stream))
        id = own_id or streams[0].id
        shape: Shape = (
            ChatShape(id, options) if isinstance(body, ChatRequest) else CompletionShape(id, options, service.detokenize)
        )
        headers = {"X-Request-Id": id, **headers}
        if body.stream:
            return await answer_stream(request, streams, shape, meter, headers)
        sizes = [generation.sampling.n for generation in generations]
        whole = await answer_whole(streams, shape, sizes, meter)
        return web.Response(body=whole, content_type="application/json", headers=headers)
