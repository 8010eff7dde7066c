"""/v1/chat/completions."""

import time

from aiohttp import web

from ..answering import answer, options_of
from ..app_state import APP_STATE
from ..bodies.reading import CHAT
from .writer import ChatWriter


async def chat_completions(request: web.Request) -> web.StreamResponse:
    state, arrival = request.app[APP_STATE], time.monotonic()
    with state.working():
        body, (generation,), headers = await state.read(request, CHAT, generates=True)
        options = options_of(request, body, arrival, generation, reading=generation.reading)
        return await answer(
            request, body, [generation], arrival, lambda id: ChatWriter(id, options), headers
        )
