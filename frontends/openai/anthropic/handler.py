"""/v1/messages and /v1/messages/count_tokens."""

import time

from aiohttp import web

from ...inputs.previews import WANTED, preview_of
from ...inputs.submission import submit
from ..answering import answer
from ..answers.writer import AnswerOptions, encode_json
from ..app_state import APP_STATE, TENANT
from ..bodies.reading import COUNT, MESSAGES
from .writer import MessageWriter


async def messages(request: web.Request) -> web.StreamResponse:
    state, arrival = request.app[APP_STATE], time.monotonic()
    with state.working():
        body, (asked,), headers = await state.read(request, MESSAGES, generates=True)
        options = AnswerOptions(
            created=int(time.time()),
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
        if not asked.media:
            count = len((await state.client.tokenize(asked.prompt)).token_ids)
        else:
            stream = await submit(
                state.client, asked, WANTED, wait=False, tenant=request[TENANT], streamed=False
            )
            async with stream:
                count = (await preview_of(stream, state.client)).prompt_tokens
        body = encode_json({"input_tokens": count})
        return web.Response(body=body, content_type="application/json", headers=headers)
