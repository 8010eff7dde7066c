"""The small endpoints: models, probes, what is served and how busy it is, tokenize and
detokenize, and what media would cost."""

from typing import Any

from aiohttp import web

from ...protocol.errors import refuse
from ...protocol.version import version as own_version
from .answering import preview
from .answers.generate import json_response
from .anthropic.models import anthropic_card, anthropic_list
from .app_state import APP_STATE, TENANT, AppState
from .bodies.reading import CHAT, DETOKENIZE, TOKENIZE, check_model
from .dialects import ANTHROPIC_VERSION
from .metrics import CONTENT_TYPE
from .server_info import info_of


def _card(state: AppState) -> dict[str, Any]:
    return {
        "id": state.terms.model,
        "object": "model",
        "created": state.started,
        "owned_by": "thespis",
        "max_model_len": state.terms.context,
        "dtype": state.config.dtype,
    }


def _anthropic_card(state: AppState) -> dict[str, Any]:
    return anthropic_card(state.terms.model, state.terms.context, state.started)


async def models(request: web.Request) -> web.Response:
    state = request.app[APP_STATE]
    if ANTHROPIC_VERSION in request.headers:
        return json_response(anthropic_list(_anthropic_card(state)))
    return json_response({"object": "list", "data": [_card(state)]})


async def one_model(request: web.Request) -> web.Response:
    state = request.app[APP_STATE]
    check_model(request.match_info["name"], state.terms)
    anthropic = ANTHROPIC_VERSION in request.headers
    return json_response(_anthropic_card(state) if anthropic else _card(state))


async def health(request: web.Request) -> web.Response:
    """200 only while every actor is there and the server takes requests."""
    state = request.app[APP_STATE]
    if state.client.ready and not state.draining:
        return json_response({"status": "ready"})
    return json_response({"status": "not ready"}, {"Retry-After": "1"}, 503)


async def live(request: web.Request) -> web.Response:
    """200 as long as this process answers, whatever the engine does."""
    return json_response({"status": "alive"})


async def load(request: web.Request) -> web.Response:
    """What balancers ask for, in the form that they know."""
    return json_response({"server_load": request.app[APP_STATE].busy})


async def server_info(request: web.Request) -> web.Response:
    return json_response(info_of(request.app[APP_STATE].config))


async def version(request: web.Request) -> web.Response:
    return json_response({"version": own_version()})


async def metrics(request: web.Request) -> web.Response:
    return web.Response(
        body=await request.app[APP_STATE].metrics_text(), headers={"Content-Type": CONTENT_TYPE}
    )


async def timeline(request: web.Request) -> web.Response:
    """Where the time of one of the caller's last calls went."""
    call = request.app[APP_STATE].traces.kept.get(request[TENANT], request.match_info["id"])
    if call is None:
        text = "There is no such request of this key among the last ones."
        raise refuse("not_found", text, code="unknown_request")
    return json_response(call.told())


async def tokenize(request: web.Request) -> web.Response:
    state = request.app[APP_STATE]
    _, (prompt,), headers = await state.read(request, TOKENIZE)
    found = await state.client.tokenize(prompt)
    tokens = list(found.token_ids)
    answer = {
        "count": len(tokens),
        "max_model_len": state.terms.context,
        "tokens": tokens,
        "prompt": found.text,
    }
    return json_response(answer, headers)


async def media_preview(request: web.Request) -> web.Response:
    """What the body of a chat completion would cost, from the headers of its media alone."""
    state = request.app[APP_STATE]
    with state.working():
        _, (asked,), headers = await state.read(request, CHAT, generates=True)
        return json_response(await preview(request, asked), headers)


async def detokenize(request: web.Request) -> web.Response:
    state = request.app[APP_STATE]
    _, (text,), headers = await state.read(request, DETOKENIZE)
    return json_response({"prompt": text}, headers)
