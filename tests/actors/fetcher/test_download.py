"""The downloader against a real server on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from thespis.actors.fetcher.connection import CheckedConnector, CheckedResolver
from thespis.actors.fetcher.download import Downloader
from thespis.actors.fetcher.policy import FetchError, Policy
from thespis.protocol.config.roles import FetcherConfig

CONFIG = FetcherConfig(
    allowed_domains=(), allow_private=True, local_path=None,
    timeouts={"image": 2.0, "video": 2.0, "audio": 0.3},
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
        return bytes(
            await self.downloader.get(
                f"http://{host}:{self.server.port}{path}", modality, self._account
            )
        )

    async def fails(
        self, path: str, modality: Any = "image", host: str = "127.0.0.1"
    ) -> FetchError:
        with pytest.raises(FetchError) as caught:
            await self.get(path, modality, host)
        assert self.bytes == 0, "what was counted is given back"
        assert "127.0.0.1" not in caught.value.text
        return caught.value

    def _account(self, delta: int) -> None:
        self.bytes += delta


@asynccontextmanager
async def site(
    handler: Handler, policy: Policy | None = None, **changes: Any
) -> AsyncIterator[Site]:
    connector = changes.pop("connector", None)
    resolver = changes.pop("resolver", None)

    async def seen(request: web.Request) -> web.StreamResponse:
        here.requests.append(request)
        return await handler(request)

    app = web.Application()
    app.router.add_get("/{tail:.*}", seen)
    server = TestServer(app)
    async with server:
        downloader = Downloader(
            msgspec.structs.replace(CONFIG, **changes), policy, resolver, connector
        )
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
    [
        "file:///etc/passwd",
        "http://10.0.0.1/x",
        "ftp://example.com/",
        "http://metadata.internal/",
        "http://[::1]/",
    ],
)
async def test_S3_every_hop_passes_the_whole_check(target: str) -> None:
    class Home(Policy):
        """127.0.0.1 is allowed here, nothing else that is closed."""

        def allows(self, address: str) -> bool:
            return address == "127.0.0.1" or super().allows(address)

    async def lookup(host: str, port: int) -> list[str]:
        return ["169.254.169.254"]

    policy = Home()
    async with site(
        fixed((302, {"Location": target}, b"")), policy, resolver=CheckedResolver(policy, lookup)
    ) as here:
        error = await here.fails("/")
        assert error.kind == "invalid_request"
        assert len(here.requests) == 1


async def test_S2_a_name_that_resolves_to_a_closed_address_is_refused() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "::1", "::ffff:127.0.0.1"]

    policy = Policy()
    async with site(
        fixed((200, {}, b"x")), policy, resolver=CheckedResolver(policy, lookup)
    ) as here:
        assert "public" in (await here.fails("/", host="innocent.example")).text
        assert here.requests == []


async def test_S2_a_name_is_resolved_once_per_connection_and_only_checked_addresses_are_used() -> (
    None
):
    asked: list[str] = []

    class Home(Policy):
        def allows(self, address: str) -> bool:
            return address == "127.0.0.1"

    async def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.1.2.3"]

    policy = Home()
    async with site(
        fixed((200, {}, b"x")), policy, resolver=CheckedResolver(policy, lookup)
    ) as here:
        assert await here.get("/", host="rebind.example") == b"x"
        assert asked == ["rebind.example"]


@pytest.mark.parametrize(
    "closed",
    [
        "10.1.2.3",
        "127.0.0.1",
        "::1",
        "fe80::1%2",
        "2600::5efe:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
    ],
)
@pytest.mark.parametrize("first", [False, True])
async def test_S2_a_name_with_a_public_and_a_closed_address_is_refused_whichever_comes_first(
    closed: str, first: bool
) -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return [closed, "8.8.8.8"] if first else ["8.8.8.8", "2606:4700::1111", closed]

    policy = Policy()
    async with site(
        fixed((200, {}, b"x")), policy, resolver=CheckedResolver(policy, lookup), retries=0
    ) as here:
        error = await here.fails("/", host="two-faced.example")
    assert "public" in error.text
    assert error.code == "forbidden_url"


async def test_S2_the_peer_is_checked_before_anything_is_sent_to_it() -> None:
    class Trusting(aiohttp.resolver.ThreadedResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
            return [
                {
                    "hostname": host,
                    "host": "127.0.0.1",
                    "port": port,
                    "family": 2,
                    "proto": 0,
                    "flags": 0,
                }
            ]

    policy = Policy()
    async with site(
        fixed((200, {}, b"x")), policy, connector=CheckedConnector(policy, Trusting())
    ) as here:
        assert "public" in (await here.fails("/", host="rebind.example")).text
        assert here.requests == []


async def test_a_name_that_does_not_resolve_says_so() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    async with site(
        fixed((200, {}, b"x")), resolver=CheckedResolver(Policy(), lookup), retries=0
    ) as here:
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
            await downloader.get(
                f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", "image", lambda _: None
            )
        assert "SSH" not in caught.value.text
    finally:
        await downloader.close()
        server.close()
        await server.wait_closed()


async def test_S10_a_name_that_is_looked_up_for_too_long_says_so() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        await asyncio.sleep(30)
        return []

    async with site(fixed((200, {}, b"x")), resolver=CheckedResolver(Policy(), lookup)) as here:
        assert (
            "0.3 s (looking up the name)"
            in (await here.fails("/", "audio", host="slow.example")).text
        )


async def test_no_room_ends_the_download_and_counts_nothing() -> None:
    def full(delta: int) -> None:
        if delta > 0:
            raise FetchError("overloaded", "full")

    async with site(fixed((200, {}, b"x"))) as here:
        with pytest.raises(FetchError, match="full"):
            await here.downloader.get(f"http://127.0.0.1:{here.server.port}/", "image", full)


async def test_S6_a_server_that_hangs_once_is_asked_again() -> None:
    """One attempt may not use up the whole limit."""

    async def handler(_: web.Request) -> web.StreamResponse:
        if len(here.requests) == 1:
            await asyncio.sleep(30)
        return web.Response(body=b"now")

    async with site(handler, timeouts={"image": 1.0, "video": 1.0, "audio": 1.0}) as here:
        assert await here.get("/") == b"now"
        assert len(here.requests) == 2


async def test_S6_a_server_that_hangs_within_its_answer_is_asked_again() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "8"})
        await response.prepare(request)
        await response.write(b"half")
        if len(here.requests) == 1:
            await asyncio.sleep(30)
        await response.write(b"half")
        return response

    async with site(handler, timeouts={"image": 1.0, "video": 1.0, "audio": 1.0}) as here:
        assert await here.get("/") == b"halfhalf"
        assert here.bytes == 8


async def test_S6_a_server_that_always_hangs_ends_at_the_limit_after_all_attempts() -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async with site(hang, timeouts={"image": 1.5, "video": 1.0, "audio": 1.0}, retries=2) as here:
        start = asyncio.get_running_loop().time()
        error = await here.fails("/")
        assert "(waiting for the answer)" in error.text
        assert asyncio.get_running_loop().time() - start < 2.0
        assert len(here.requests) == 3


async def test_S6_without_retries_the_one_attempt_has_the_whole_limit() -> None:
    async def late(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.7)
        return web.Response(body=b"late")

    async with site(late, timeouts={"image": 1.0, "video": 1.0, "audio": 1.0}, retries=0) as here:
        assert await here.get("/") == b"late"


# the cache on disk


@asynccontextmanager
async def caching(
    handler: Handler, folder: Path, policy: Policy | None = None, **changes: Any
) -> AsyncIterator[Site]:
    settings = {"cache_path": str(folder), "cache_bytes": 1 << 20, "cache_seconds": 60.0, **changes}
    async with site(handler, policy, **settings) as here:
        await here.downloader.open()
        yield here


async def settled(here: Site) -> None:
    assert here.downloader.cache is not None
    await asyncio.gather(*here.downloader.cache._tasks)


async def test_S9_a_second_request_for_a_url_is_answered_from_the_disk(tmp_path: Path) -> None:
    async with caching(fixed((200, {}, b"once")), tmp_path) as here:
        assert await here.get("/a") == b"once"
        await settled(here)
        assert await here.get("/a#part", "video") == b"once"
        assert here.bytes == 8, "accounted for like a download"
        assert len(here.requests) == here.downloader.downloads == 1
        assert await here.get("/a?b") == b"once"
        assert len(here.requests) == 2


async def test_S9_failures_are_not_kept(tmp_path: Path) -> None:
    async with caching(fixed((404, {}, b"no"), (200, {}, b"yes")), tmp_path) as here:
        await here.fails("/a")
        assert await here.get("/a") == b"yes"


@pytest.mark.parametrize("hop", [False, True])
async def test_S9_what_a_server_forbids_to_keep_is_not_kept(tmp_path: Path, hop: bool) -> None:
    forbidden = {"Cache-Control": "no-store"}

    async def handler(request: web.Request) -> web.StreamResponse:
        if hop and request.path == "/a":
            return web.Response(status=302, headers={"Location": "/b", **forbidden})
        return web.Response(body=b"x", headers={} if hop else forbidden)

    async with caching(handler, tmp_path) as here:
        for _ in range(2):
            await here.get("/a")
            await settled(here)
        assert here.downloader.downloads == 2


TAG = '"v1"'


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": TAG, "Cache-Control": "max-age=0"},
        {"ETag": TAG, "Cache-Control": "no-cache"},
        {
            "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT",
            "Cache-Control": "max-age=60",
            "Age": "70",
        },
    ],
)
async def test_S9_what_is_over_is_asked_about_and_not_fetched_again(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    """What the server says then is its lifetime, and otherwise what it said first."""
    answers: list[tuple[int, bytes]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("If-None-Match"), request.headers.get("If-Modified-Since")
        if asked == (headers.get("ETag"), headers.get("Last-Modified")):
            answers.append((304, b""))
            fresh = {} if len(answers) < 3 else {"Cache-Control": "max-age=60"}
            return web.Response(status=304, headers=fresh)
        answers.append((200, b"picture"))
        return web.Response(body=b"picture", headers=headers)

    async with caching(handler, tmp_path) as here:
        for turn in range(4):
            assert await here.get("/a") == b"picture"
            assert here.bytes == (turn + 1) * len(b"picture")
            await settled(here)
    assert [status for status, _ in answers] == [200, 304, 304]


async def test_S9_what_has_changed_takes_its_place(tmp_path: Path) -> None:
    tags = iter(('"v1"', 'W/"v2"', '"v3"'))
    asked: list[str | None] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("If-None-Match"))
        tag = next(tags)
        return web.Response(body=tag.encode(), headers={"ETag": tag, "Cache-Control": "max-age=0"})

    async with caching(handler, tmp_path) as here:
        for wanted in (b'"v1"', b'W/"v2"', b'"v3"'):
            assert await here.get("/a") == wanted
            await settled(here)
    assert asked == [None, '"v1"', 'W/"v2"']


async def test_S9_what_cannot_be_read_any_more_is_fetched(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if "If-None-Match" in request.headers:
            return web.Response(status=304)
        return web.Response(body=b"picture", headers={"ETag": TAG, "Cache-Control": "no-cache"})

    async with caching(handler, tmp_path) as here:
        await here.get("/a")
        await settled(here)
        (content,) = (tmp_path / "thespis-media/contents").iterdir()
        content.write_bytes(b"pictura")
        here.bytes = 0
        assert await here.get("/a") == b"picture"
        assert here.bytes == len(b"picture")
        assert len(here.requests) == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": TAG, "Cache-Control": "no-store"},
        {"ETag": TAG, "Cache-Control": "private, max-age=0"},
        {"ETag": TAG, "Cache-Control": "max-age=0", "Vary": "Accept, *"},
        {"ETag": '"' + 300 * "x" + '"', "Cache-Control": "max-age=0"},
        {"ETag": "no quotes", "Cache-Control": "max-age=0"},
        {"Last-Modified": "(x) <y>", "Cache-Control": "max-age=0"},
        {"ETag": TAG, "Cache-Control": "max-age=0", "Location": "/b"},
    ],
)
async def test_S9_what_may_not_be_kept_or_is_no_validator_asks_nothing(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        status = 302 if "Location" in headers and request.path == "/a" else 200
        return web.Response(status=status, body=b"x", headers=headers)

    async with caching(handler, tmp_path) as here:
        for _ in range(2):
            assert await here.get("/a") == b"x"
            await settled(here)
        assert not any("If-None-Match" in request.headers for request in here.requests)
        assert not any("If-Modified-Since" in request.headers for request in here.requests)


async def test_S9_not_modified_is_no_answer_to_who_has_nothing(tmp_path: Path) -> None:
    async with caching(fixed((304, {"ETag": TAG}, b"")), tmp_path) as here:
        assert "status 304" in (await here.fails("/a")).text


async def test_S9_a_url_is_checked_before_the_cache_is_asked(tmp_path: Path) -> None:
    """What was fetched while private addresses were open is closed when they are, and so is a
    domain that was allowed."""
    async with caching(fixed((200, {}, b"internal")), tmp_path) as here:
        port = here.server.port
        assert await here.get("/a") == b"internal"
        await settled(here)
    async with caching(fixed((200, {}, b"")), tmp_path, allow_private=False) as here:
        with pytest.raises(FetchError, match="public"):
            await here.downloader.get(f"http://127.0.0.1:{port}/a", "image", lambda _: None)
    async with caching(fixed((200, {}, b"")), tmp_path, allowed_domains=("other.example",)) as here:
        with pytest.raises(FetchError, match="allowed media domains"):
            await here.downloader.get(f"http://127.0.0.1:{port}/a", "image", lambda _: None)
