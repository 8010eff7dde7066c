"""/v1/responses and /v1/responses/input_tokens."""

import time

from aiohttp import web

from ..answering import answer, options_of, prompt_tokens
from ..answers.carried import name_of
from ..answers.generate import json_response
from ..app_state import APP_STATE, IGNORED_HEADER, TENANT
from ..bodies.reading import RESPONSE
from ..requests.responses import ResponseCall, ResponseRequest
from .history import with_stored
from .kept import KEPT, KeptResponse
from .writer import Keep, ResponsesWriter


async def create_response(request: web.Request) -> web.StreamResponse:
    state, arrival = request.app[APP_STATE], time.monotonic()
    with state.working():
        body, (asked,), headers = await state.read(request, RESPONSE, generates=True)
        asked = await with_stored(request, body, asked)
        options = options_of(request, body, arrival, asked, reading=asked.reading)
        id = name_of(request, state.storage.responses.draw()[0])
        keep = _keeper(request, id, body, asked)
        if body.store and keep is None:
            headers[IGNORED_HEADER] = ", ".join(
                filter(None, (headers.get(IGNORED_HEADER), "store"))
            )
        writer = ResponsesWriter(id, options, asked, bool(body.stream), keep)
        return await answer(request, body, [asked], arrival, lambda _: writer, headers)


async def count_input(request: web.Request) -> web.StreamResponse:
    """The tokens of a response's input; what media cost is found out from their headers alone."""
    state = request.app[APP_STATE]
    with state.working():
        body, (asked,), headers = await state.read(request, RESPONSE, generates=True)
        asked = await with_stored(request, body, asked)
        count = await prompt_tokens(request, asked)
        told = {"object": "response.input_tokens", "input_tokens": count}
        return json_response(told, headers)


def _keeper(
    request: web.Request, id: str, body: ResponseRequest, asked: ResponseCall
) -> Keep | None:
    """None: the response is not to be kept, or cannot be."""
    responses, tenant, items = request.app[KEPT], request[TENANT], asked.items
    if items is None or not responses.has_room:
        return None

    def keep(response: bytes) -> bool:
        return responses.keep(tenant, id, KeptResponse(response, items, body.previous_response_id))

    return keep
