"""The downloader against a real server on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from thespis.actors.fetcher.connection import CheckedConnector, CheckedResolver
from thespis.actors.fetcher.download import Downloader
from thespis.actors.fetcher.policy import FetchError, Policy
from thespis.protocol.config import FetcherConfig

CONFIG = FetcherConfig(
    allowed_domains=(), allow_private=True, local_path=None, timeouts={"image": 2.0, "video": 2.0, "audio": 0.3},
    retries=3, redirects=3, max_bytes=100_000, arena_bytes=1 << 24,
)  # fmt: skip
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """A server, a downloader, and what both have seen."""

    def __init__(self, server: TestServer, downloader: Downloader) -> None:
        self.server, self.downloader = server, downloader
        self.requests: list[web.Request] = []
        self.bytes = 0

    async def get(self, path: str, modality: Any = "image", host: str = "127.0.0.1") -> bytes:
        return await self.downloader.get(f"http://{host}:{self.server.port}{path}", modality, self._account)

    async def fails(self, path: str, modality: Any = "image", host: str = "127.0.0.1") -> FetchError:
        with pytest.raises(FetchError) as caught:
            await self.get(path, modality, host)
        assert self.bytes == 0, "what was counted is given back"
        assert "127.0.0.1" not in caught.value.text
        return caught.value

    def _account(self, delta: int) -> None:
        self.bytes += delta


@asynccontextmanager
async def site(handler: Handler, policy: Policy | None = None, **changes: Any) -> AsyncIterator[Site]:
    connector = changes.pop("connector", None)
    resolver = changes.pop("resolver", None)

    async def seen(request: web.Request) -> web.StreamResponse:
        here.requests.append(request)
        return await handler(request)

    app = web.Application()
    app.router.add_get("/{tail:.*}", seen)
    server = TestServer(app)
    async with server:
        downloader = Downloader(msgspec.structs.replace(CONFIG, **changes), policy, resolver, connector)
        here = Site(server, downloader)
        try:
            yield here
        finally:
            await downloader.close()


def fixed(*answers: tuple[int, dict[str, str], bytes]) -> Handler:
    """The answers in turn, the last for ever."""
    left = list(answers)

    async def handler(_: web.Request) -> web.StreamResponse:
        status, headers, body = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(status=status, headers=headers, body=body)

    return handler


async def test_bytes_come_as_they_are() -> None:
    async with site(fixed((200, {}, b"picture"))) as here:
        assert await here.get("/a%2Fb?x=%20y") == b"picture"
        assert here.bytes == 7
        headers = here.requests[0].headers
        assert headers["Accept-Encoding"] == "identity"
        assert here.requests[0].raw_path == "/a%2Fb?x=%20y"


async def test_S3_redirects_are_followed_three_times_without_cookies() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        hops = int(request.path[1:])
        if hops == 0:
            return web.Response(body=b"end")
        return web.Response(status=302, headers={"Location": f"/{hops - 1}", "Set-Cookie": "a=b"})

    async with site(handler) as here:
        assert await here.get("/3") == b"end"
        here.bytes = 0
        assert not any("Cookie" in request.headers for request in here.requests)
        assert "more than 3 redirects" in (await here.fails("/4")).text


async def test_S3_redirects_can_be_switched_off() -> None:
    async with site(fixed((302, {"Location": "/x"}, b"")), redirects=0) as here:
        assert "switched off" in (await here.fails("/")).text
        assert len(here.requests) == 1


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "http://10.0.0.1/x", "ftp://example.com/", "http://metadata.internal/", "http://[::1]/"],
)
async def test_S3_every_hop_passes_the_whole_check(target: str) -> None:
    class Home(Policy):
        """127.0.0.1 is allowed here, nothing else that is closed."""

        def allows(self, address: str) -> bool:
            return address == "127.0.0.1" or super().allows(address)

    async def lookup(host: str, port: int) -> list[str]:
        return ["169.254.169.254"]

    policy = Home()
    async with site(fixed((302, {"Location": target}, b"")), policy, resolver=CheckedResolver(policy, lookup)) as here:
        error = await here.fails("/")
        assert error.kind == "invalid_request"
        assert len(here.requests) == 1


async def test_S2_a_name_that_resolves_to_a_closed_address_is_refused() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "::1", "::ffff:127.0.0.1"]

    policy = Policy()
    async with site(fixed((200, {}, b"x")), policy, resolver=CheckedResolver(policy, lookup)) as here:
        assert "public" in (await here.fails("/", host="innocent.example")).text
        assert here.requests == []


async def test_S2_a_name_is_resolved_once_per_connection_and_only_checked_addresses_are_used() -> None:
    asked: list[str] = []

    class Home(Policy):
        def allows(self, address: str) -> bool:
            return address == "127.0.0.1"

    async def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["10.1.2.3", "127.0.0.1"] if len(asked) == 1 else ["10.1.2.3"]

    policy = Home()
    async with site(fixed((200, {}, b"x")), policy, resolver=CheckedResolver(policy, lookup)) as here:
        assert await here.get("/", host="rebind.example") == b"x"
        assert asked == ["rebind.example"]


async def test_S2_the_peer_is_checked_before_anything_is_sent_to_it() -> None:
    class Trusting(aiohttp.resolver.ThreadedResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
            return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

    policy = Policy()
    async with site(fixed((200, {}, b"x")), policy, connector=CheckedConnector(policy, Trusting())) as here:
        assert "public" in (await here.fails("/", host="rebind.example")).text
        assert here.requests == []


async def test_a_name_that_does_not_resolve_says_so() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    async with site(fixed((200, {}, b"x")), resolver=CheckedResolver(Policy(), lookup), retries=0) as here:
        assert "cannot be resolved" in (await here.fails("/", host="nowhere.example")).text


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_S6_passing_faults_are_retried(status: int) -> None:
    async with site(fixed((status, {}, b""), (200, {}, b"now"))) as here:
        assert await here.get("/") == b"now"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 206])
async def test_S10_lasting_faults_are_not_and_the_status_is_named(status: int) -> None:
    async with site(fixed((status, {}, b""))) as here:
        assert str(status) in (await here.fails("/")).text
        assert len(here.requests) == 1


async def test_S6_retries_end() -> None:
    async with site(fixed((503, {}, b"")), retries=2) as here:
        assert "503" in (await here.fails("/")).text
        assert len(here.requests) == 3


async def test_S6_a_retry_beyond_the_time_limit_is_not_waited_for() -> None:
    async with site(fixed((429, {"Retry-After": "60"}, b""))) as here:
        assert "429" in (await here.fails("/")).text


async def test_S6_a_connection_that_breaks_is_retried_whole() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "8"})
        await response.prepare(request)
        await response.write(b"half")
        if len(here.requests) > 1:
            await response.write(b"half")
        elif request.transport is not None:
            request.transport.abort()
        return response

    async with site(handler) as here:
        assert await here.get("/") == b"halfhalf"
        assert here.bytes == 8


async def test_S6_a_slow_drip_ends_at_the_time_limit() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.02)

    async with site(drip) as here:
        start = asyncio.get_running_loop().time()
        error = await here.fails("/", "audio")
        assert "0.3 s (reading the answer)" in error.text
        assert asyncio.get_running_loop().time() - start < 1.5


async def test_S8_a_stated_length_over_the_cap_is_refused_unread() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100001"})
        await response.prepare(request)
        return response

    async with site(handler) as here:
        assert (await here.fails("/")).kind == "too_large"


async def test_S8_an_unstated_length_is_cut_at_the_cap() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(20):
            await response.write(b"x" * 10_000)
        return response

    async with site(handler) as here:
        assert (await here.fails("/")).kind == "too_large"


async def test_S8_compressed_answers_are_refused() -> None:
    async with site(fixed((200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"))) as here:
        assert "compressed" in (await here.fails("/")).text


async def test_an_answer_that_is_no_http_is_a_clear_error() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    downloader = Downloader(msgspec.structs.replace(CONFIG, retries=0))
    try:
        with pytest.raises(FetchError) as caught:
            await downloader.get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", "image", lambda _: None)
        assert "SSH" not in caught.value.text
    finally:
        await downloader.close()
        server.close()
        await server.wait_closed()


async def test_no_room_ends_the_download_and_counts_nothing() -> None:
    def full(delta: int) -> None:
        if delta > 0:
            raise FetchError("overloaded", "full")

    async with site(fixed((200, {}, b"x"))) as here:
        with pytest.raises(FetchError, match="full"):
            await here.downloader.get(f"http://127.0.0.1:{here.server.port}/", "image", full)
