"""A web server on this machine for the fetcher to meet: honest pages, and every trick that a page
can play. And a canary.

`site.url("/picture-1.png")` is under a name that the table of `fakes/fetcher_with_table` knows;
every host serves every page.
"""

import asyncio
import threading
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

from ..helpers.media import clip, picture, png, sound, wav
from ..helpers.pdfs import of_pictures

BOMB = zlib.compress(bytes(20 << 20), 6, 31)
"""20 MiB of nothing in 20 kB of gzip."""
Page = Callable[[web.Request], Awaitable[web.StreamResponse]]


def media(name: str) -> bytes:
    """`picture-1.png`, `clip-2.mp4`, `sound-3.wav`, `document-4.pdf`: drawn from the seed in the
    name."""
    kind, _, rest = name.partition("-")
    seed = int(rest.partition(".")[0])
    return {
        "picture": lambda: png(picture(seed)),
        "clip": lambda: clip(seed),
        "sound": lambda: wav(sound(seed)),
        "document": lambda: of_pictures([picture(seed), picture(seed + 1)]),
    }[kind]()


class Site:
    """Runs in a thread of its own. `with Site() as site: ...`"""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.canary_heard = 0
        """Connections to the port that only forbidden addresses have."""
        self.left = threading.Event()
        """Somebody went away from /drip before its end."""
        self.port = self.canary = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="site", daemon=True)

    def url(self, path: str, host: str = "pictures.example") -> str:
        return f"http://{host}:{self.port}{path}"

    def trap(self, host: str, path: str = "/picture-1.png") -> str:
        """A URL to `host` at the canary's port."""
        return f"http://{host}:{self.canary}{path}"

    def asked(self, path: str) -> list[web.Request]:
        """Every request for a path, its query included."""
        return [request for request in self.requests if request.path_qs == path]

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_get("/{page}", self._answer)
        app.router.add_get("/{page}/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        self._bird = await asyncio.start_server(self._sing, "127.0.0.1", 0)
        self.canary = self._bird.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._bird.close()
        await self._bird.wait_closed()
        await self._runner.cleanup()

    async def _sing(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.canary_heard += 1
        writer.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        name = request.match_info["page"].replace("-", "_")
        page: Page | None = getattr(self, f"page_{name}", None)
        if page is not None:
            return await page(request)
        try:
            return web.Response(body=media(request.match_info["page"]))
        except (KeyError, ValueError):
            return web.Response(status=404, text="Not here: /etc/secret on 10.0.0.5")

    # the tricks

    async def page_to(self, request: web.Request) -> web.StreamResponse:
        """Redirects to where the query says, with a cookie to carry."""
        headers = {"Location": request.query_string, "Set-Cookie": "session=1; Path=/"}
        return web.Response(status=302, headers=headers)

    async def page_hops(self, request: web.Request) -> web.StreamResponse:
        """/hops/3: three redirects, of every kind in turn, then a picture."""
        left = int(request.match_info["rest"])
        if left == 0:
            return web.Response(body=media("picture-1.png"))
        headers = {"Location": f"/hops/{left - 1}", "Set-Cookie": "session=1; Path=/"}
        return web.Response(status=(301, 302, 303, 307, 308)[left % 5], headers=headers)

    async def page_loop(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": request.path_qs})

    async def page_status(self, request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=int(request.match_info["rest"]), text="secret at 10.0.0.5 in /etc/passwd"
        )

    async def page_flaky(self, request: web.Request) -> web.StreamResponse:
        """/flaky/503/2?any: fails twice for each query, then a picture."""
        status, times = request.match_info["rest"].split("/")
        if len(self.asked(request.path_qs)) > int(times):
            return web.Response(body=media("picture-1.png"))
        if status == "cut":
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b"half")
            assert request.transport is not None
            request.transport.abort()
            return response
        if status == "hang":
            await asyncio.sleep(60)
        return web.Response(status=int(status))

    async def page_late(self, request: web.Request) -> web.StreamResponse:
        """/late/0.5/picture-1.png"""
        seconds, name = request.match_info["rest"].split("/")
        await asyncio.sleep(float(seconds))
        response = web.Response(body=media(name))
        response.force_close()  # the next one looks up the name again
        return response

    async def page_hang(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async def page_drip(self, request: web.Request) -> web.StreamResponse:
        """A byte at a time, for ever."""
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x")
                await asyncio.sleep(0.03)
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise

    async def page_says_more(self, request: web.Request) -> web.StreamResponse:
        """Announces a petabyte and sends nothing of it."""
        response = web.StreamResponse(headers={"Content-Length": str(1 << 50)})
        await response.prepare(request)
        await asyncio.sleep(60)
        return response

    async def page_says_less(self, request: web.Request) -> web.StreamResponse:
        """Announces the first hundred bytes of a picture and sends all."""
        whole = media("picture-1.png")
        assert request.transport is not None
        assert isinstance(request.transport, asyncio.WriteTransport)
        request.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n" + whole
        )
        request.transport.close()
        return web.Response()

    async def page_endless(self, request: web.Request) -> web.StreamResponse:
        """Says nothing of a length, and never ends."""
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))

    async def page_gzip(self, request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=BOMB, headers={"Content-Encoding": "gzip", "Content-Type": "image/png"}
        )

    async def page_not_http(self, request: web.Request) -> web.StreamResponse:
        assert isinstance(request.transport, asyncio.WriteTransport)
        request.transport.write(b"SSH-2.0-OpenSSH_9.6 secret\r\n\r\n")
        request.transport.close()
        return web.Response()

    async def page_named(self, request: web.Request) -> web.StreamResponse:
        """/named/notes.txt?picture-1.png: what the query says, under another name and type."""
        return web.Response(body=media(request.query_string), content_type="text/plain")

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def counted(self) -> Counter[str]:
        """Requests by path and query."""
        return Counter(request.path_qs for request in self.requests)


def part(url: str, kind: str = "image") -> dict[str, Any]:
    return {"type": f"{kind}_url", f"{kind}_url": {"url": url}}
