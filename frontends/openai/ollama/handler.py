"""/api/chat, /api/generate, /api/embed, /api/embeddings, and what is asked of the model."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from aiohttp import hdrs, web

from ..access import TOLD
from ..answering import answer
from ..answers.carried import created_of
from ..answers.generate import CallMeter, json_response
from ..answers.writer import AnswerOptions
from ..app_state import APP_STATE, AppState
from ..bodies.reading import (
    OLLAMA_CHAT,
    OLLAMA_EMBED,
    OLLAMA_EMBEDDINGS,
    OLLAMA_GENERATE,
    OLLAMA_SHOW,
)
from ..embeddings.handler import vectorizing
from ..requests.common import Embedding, Generation
from ..requests.ollama import OllamaAnswered, refuse_change
from .facts import SPOKEN, card, running, shown, tagged
from .writer import LINES, Grown, OllamaWriter, Said, as_message, as_response, head_of, nanoseconds


async def ollama_chat(request: web.Request) -> web.StreamResponse:
    state, arrival = request.app[APP_STATE], time.monotonic()
    with state.working():
        body, asked, headers = await state.read(request, OLLAMA_CHAT, generates=True)
        return await _answer(request, body, asked, arrival, as_message, headers)


async def ollama_generate(request: web.Request) -> web.StreamResponse:
    state, arrival = request.app[APP_STATE], time.monotonic()
    with state.working():
        body, asked, headers = await state.read(request, OLLAMA_GENERATE, generates=True)
        return await _answer(request, body, asked, arrival, as_response, headers)


async def _answer(
    request: web.Request,
    body: OllamaAnswered,
    asked: Sequence[Generation],
    arrival: float,
    said: Said,
    headers: dict[str, str],
) -> web.StreamResponse:
    model = body.model or tagged(request.app[APP_STATE].terms.model)  # as its caller calls it
    created = created_of(request)
    if not asked:
        reason = "unload" if body.keep_alive in (0, "0") else "load"
        told = {**head_of(model, created), **said(Grown()), "done": True, "done_reason": reason}
        return json_response(told, headers)
    body.stream = body.stream is not False
    if body.stream:
        headers = {"Content-Type": LINES, **headers}
    wanted = asked[0]
    options = AnswerOptions(
        created=created,
        arrival=arrival,
        model=model,
        logprobs=wanted.sampling.logprobs,
        reading=wanted.reading,
    )
    return await answer(
        request, body, asked, arrival, lambda id: OllamaWriter(id, options, said), headers
    )


async def ollama_embed(request: web.Request) -> web.StreamResponse:
    state, arrival = request.app[APP_STATE], time.monotonic()
    with state.working():
        body, inputs, headers = await state.read(request, OLLAMA_EMBED, generates=True)
        vectors, tokens = await _vectors(request, state, inputs, arrival)
        told = {
            "model": body.model or tagged(state.terms.model),
            "embeddings": vectors,
            "total_duration": nanoseconds(time.monotonic() - arrival),
            "load_duration": 0,
            "prompt_eval_count": tokens,
        }
        return json_response(told, headers)


async def ollama_embeddings(request: web.Request) -> web.StreamResponse:
    state, arrival = request.app[APP_STATE], time.monotonic()
    with state.working():
        _, inputs, headers = await state.read(request, OLLAMA_EMBEDDINGS, generates=True)
        vectors, _ = await _vectors(request, state, inputs, arrival)
        return json_response({"embedding": vectors[0]}, headers)


async def _vectors(
    request: web.Request, state: AppState, inputs: Sequence[Embedding], arrival: float
) -> tuple[list[Any], int]:
    """And how many tokens were read."""
    meter = CallMeter(state.metrics, arrival, request[TOLD])
    with vectorizing(request, arrival) as call:
        answers = await call.run(inputs)
    meter.end(answers)
    meter.begin(call.id)
    vectors = [np.frombuffer(one.pooled.data, "<f4").tolist() for one in answers]
    tokens = sum(one.finished.usage.prompt_tokens for one in answers if one.finished)
    return vectors, tokens


async def ollama_show(request: web.Request) -> web.StreamResponse:
    state = request.app[APP_STATE]
    _, _, headers = await state.read(request, OLLAMA_SHOW)
    thinks = state.terms.chat.marks is not None
    return json_response(shown(state.config, state.started, thinks), headers)


async def ollama_tags(request: web.Request) -> web.StreamResponse:
    state = request.app[APP_STATE]
    return json_response({"models": [card(state.config, state.started)]})


async def ollama_ps(request: web.Request) -> web.StreamResponse:
    return json_response({"models": [running(request.app[APP_STATE].config)]})


async def ollama_version(request: web.Request) -> web.StreamResponse:
    return json_response({"version": SPOKEN})


async def ollama_heartbeat(request: web.Request) -> web.StreamResponse:
    """HEAD / where no page stands: its clients look there whether anybody is there."""
    if request.method != hdrs.METH_HEAD:
        raise web.HTTPNotFound
    return web.Response()


async def ollama_change(request: web.Request) -> web.StreamResponse:
    """To fetch, make, copy or remove a model."""
    raise refuse_change()
