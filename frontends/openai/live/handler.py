"""`GET /live-view`, the operators' page, and `GET /v1/live`, the events that feed it.

The page is files of this package and open: it holds nothing, and a browser that opens it has no key
to send. It asks for the key and sends it in a header with what it reads. The events are guarded
like everything else.
"""

import asyncio
import logging
from functools import partial

from aiohttp import web

from ....protocol.config.roles import HttpConfig
from ...client.client import Client
from ..answers.sse import EventStream
from ..gate.auth import Keys
from ..pages import FOLDER, SECURITY, files_below, send_file
from .watch import Watch

log = logging.getLogger(__name__)

ROOT = "/live-view"
ABOUT, EVENTS = f"{ROOT}/about", "/v1/live"
FILES = dict(files_below(FOLDER / "live", ROOT))
FILES[ROOT] = FILES.pop(f"{ROOT}/index.html")
PAGES = FILES.keys() | {ABOUT}
"""What is answered without a key."""
STUCK_SECONDS = 20.0
"""A watcher that reads nothing for so long is let go."""
WATCH: web.AppKey[Watch] = web.AppKey("watch", Watch)


def add_live_view(app: web.Application, client: Client, config: HttpConfig, keys: Keys) -> None:
    """The page's files, the events, and who samples for them. Without it none of this is there."""
    app[WATCH] = Watch(client, config, keys)
    for root in dict.fromkeys(("", config.server.root_path)):
        app.add_routes(
            web.get(root + path, partial(send_file, file=file)) for path, file in FILES.items()
        )
        app.add_routes([web.get(root + ABOUT, about), web.get(root + EVENTS, live_events)])
    app.on_shutdown.append(_end)


async def _end(app: web.Application) -> None:
    app[WATCH].sampling.close()


async def about(request: web.Request) -> web.Response:
    """Whether the page has to ask for a key: a browser reports an answer of 401 as an error."""
    watch = request.app[WATCH]
    return web.json_response({"key": watch.keys.asked_for}, headers=SECURITY)


async def live_events(request: web.Request) -> web.StreamResponse:
    """A snapshot about once a second, until the watcher leaves or the server ends."""
    sampling = request.app[WATCH].sampling
    with sampling.watching():
        stream = EventStream(request, {})
        await stream.open()
        number = 0
        try:
            while (news := await sampling.after(number)) is not None:
                number, event = news
                async with asyncio.timeout(STUCK_SECONDS):
                    await stream.write(event)
        except TimeoutError:
            log.info("a watcher does not read and is let go")
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            log.debug("a watcher went away")
        else:
            await stream.response.write_eof()
        return stream.response
