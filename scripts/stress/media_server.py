"""Where pictures, clips and sounds come from: a server on loopback, slow at times, so that
downloads are cut in the middle."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import cast

from aiohttp import web

from thespis.tests.helpers.cases import Medium, Shown

SLOWEST = 0.3
"""Seconds before the second half of a body."""


@lru_cache(4096)
def _body(kind: Medium, seed: int) -> bytes:
    return Shown(kind, seed).encoded


@asynccontextmanager
async def media_server(seed: int) -> AsyncIterator[str]:
    """Gives its URL. `/image/7` is what `Shown("image", 7)` is."""
    draw = random.Random(seed)

    async def give(request: web.Request) -> web.StreamResponse:
        kind = cast(Medium, request.match_info["kind"])
        body = _body(kind, int(request.match_info["seed"]))
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        with suppress(ConnectionError):  # whoever asked may have been killed, or have left
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
            await asyncio.sleep(draw.random() * SLOWEST)
            await response.write(body[len(body) // 2 :])
        return response

    app = web.Application()
    app.router.add_get("/{kind:image|video|audio}/{seed:\\d+}", give)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
