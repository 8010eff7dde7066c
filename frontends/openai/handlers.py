"""/v1/chat/completions and /v1/completions."""

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from aiohttp import web

from ...protocol.request import TextPrompt, TokenPrompt
from .chat_shape import ChatShape
from .completion_shape import CompletionShape
from .generate import Meter, answer_stream, answer_whole, submit_all
from .parse import Generation, parse_chat, parse_completion
from .schema import ChatRequest, Common, CompletionRequest
from .service import SERVICE, TENANT, Service
from .shape import Options, Shape


async def chat_completions(request: web.Request) -> web.StreamResponse:
    service, arrival = request.app[SERVICE], time.monotonic()
    with service.working():
        parse = partial(parse_chat, embeds=service.config.engine.enable_mm_embeds, style=service.tool_style)
        body, generation, headers = await service.read(request, ChatRequest, parse, generates=True)
        options = _options(service, body, arrival, generation, tools=generation.tools)
        return await _answer(request, service, body, [generation], options, headers)


async def completions(request: web.Request) -> web.StreamResponse:
    service, arrival = request.app[SERVICE], time.monotonic()
    with service.working():
        body, generations, headers = await service.read(request, CompletionRequest, parse_completion, generates=True)
        echo = tuple(_prompt_text(service, generation) for generation in generations) if body.echo else None
        options = _options(service, body, arrival, generations[0], echo=echo)
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
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        return_timings=bool(body.return_timings),
        **more,
    )


def _prompt_text(service: Service, generation: Generation) -> str:
    match generation.prompt:
        case TextPrompt(text):
            return text
        case TokenPrompt(token_ids):
            return service.detokenize(token_ids)
    raise AssertionError("a chat has no echo")


async def _answer(
    request: web.Request,
    service: Service,
    body: Common,
    generations: Sequence[Generation],
    options: Options,
    headers: dict[str, str],
) -> web.StreamResponse:
    meter = Meter(service.metrics, options.arrival)
    async with AsyncExitStack() as stack:
        streams = await submit_all(service.client, generations, request[TENANT], stack)
        id = streams[0].id
        shape: Shape = (
            ChatShape(id, options) if isinstance(body, ChatRequest) else CompletionShape(id, options, service.detokenize)
        )
        headers = {"X-Request-Id": id, **headers}
        if body.stream:
            return await answer_stream(request, streams, shape, meter, headers)
        sizes = [generation.sampling.n for generation in generations]
        whole = await answer_whole(streams, shape, sizes, meter)
        return web.Response(body=whole, content_type="application/json", headers=headers)
