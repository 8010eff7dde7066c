"""/v1/messages and /v1/messages/count_tokens."""

import time

from aiohttp import web

from ..answering import answer, prompt_tokens
from ..answers.carried import created_of
from ..answers.generate import json_response
from ..answers.writer import AnswerOptions
from ..app_state import APP_STATE
from ..bodies.reading import COUNT, MESSAGES
from .writer import MessageWriter


async def messages(request: web.Request) -> web.StreamResponse:
    state, arrival = request.app[APP_STATE], time.monotonic()
    with state.working():
        body, (asked,), headers = await state.read(request, MESSAGES, generates=True)
        options = AnswerOptions(
            created=created_of(request),
            arrival=arrival,
            model=state.terms.model,
            reading=asked.reading,
        )
        limit = asked.sampling.max_tokens
        return await answer(
            request, body, [asked], arrival, lambda id: MessageWriter(id, options, limit), headers
        )


async def count_tokens(request: web.Request) -> web.StreamResponse:
    """What media would cost is found out from their headers alone."""
    state = request.app[APP_STATE]
    with state.working():
        _, (asked,), headers = await state.read(request, COUNT, generates=True)
        return json_response({"input_tokens": await prompt_tokens(request, asked)}, headers)
