"""Connections: who gets one, for how long without asking, and what everybody else hears. By hand,
over real sockets."""

import asyncio
import itertools
import json
import logging
import os
import resource
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from thespis.frontends.openai.app import make_app
from thespis.frontends.openai.gate import accepting
from thespis.frontends.openai.gate.accepting import neighbourhood
from thespis.frontends.openai.main import close, limits_of, open_listener

from ..fake import FakeClient, http_config, served
from ..raw import Answer, answer, ask, chat, connected, exchange, read

LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
MODELS = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
CHAT = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: "
    b"application/json\r\nContent-Length: %d\r\n\r\n%s"
)


loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
"""The server runs on uvloop; what it asks of a loop is any loop's."""
Run = Callable[[Coroutine[Any, Any, None]], None]


# Pipelines (A7)


async def test_what_is_sent_ahead_waits_in_the_kernel_and_its_neighbours_do_not() -> None:
    """A caller that sends 50,000 requests and reads no answer: few are read ahead, none is lost,
    and others are answered."""
    client, total = FakeClient(), 50_000
    async with served(client) as url, connected(url) as (_, writer):
        writer.write(MODELS * total)
        for _ in range(20):
            assert (await ask(url, "", method="GET", path="/v1/models")).status == 200
        writer.transport.abort()


async def test_while_one_is_answered_the_next_are_not_read_without_end() -> None:
    client = FakeClient()
    client.pace = 3600.0
    async with served(client) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as caller:
            caller.setblocking(False)
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
            loop, sent = asyncio.get_running_loop(), 0
            await loop.sock_sendall(caller, CHAT % (len(chat()), chat()))
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    while True:
                        await loop.sock_sendall(caller, MODELS * 1000)
                        sent += len(MODELS) * 1000
            assert sent < 1 << 24, "the kernel's buffers take some"


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with served(FakeClient()) as url, connected(url) as (reader, writer):
        writer.write((LIVE + MODELS) * 100)
        for _ in range(100):
            assert b"alive" in (await answer(reader)).body
            assert b"fake-model" in (await answer(reader)).body


# Heads that drip (A7)


@pytest.mark.parametrize(
    "begun", [b"G", b"GET /live HTTP/1.1\r\n", b"GET /live HTTP/1.1\r\nHost: x\r\nX: ", LIVE[:-1]]
)
@pytest.mark.parametrize("before", [False, True])
@loops
def test_a_head_that_does_not_come_whole_is_408(run: Run, begun: bytes, before: bool) -> None:
    """Also after a request that was answered: the connection was kept for a whole one."""
    run(_late_head(begun, before))


async def _late_head(begun: bytes, before: bool) -> None:
    async with (
        served(FakeClient(), http_config(header_timeout=0.1)) as url,
        connected(url) as (reader, writer),
    ):
        if before:
            writer.write(LIVE)
            assert (await answer(reader)).status == 200
        writer.write(begun)
        late = read(await reader.read())
    assert (late.status, late.code, late.headers["connection"]) == (408, "request_timeout", "close")


async def test_drops_do_not_lengthen_the_time_for_a_head() -> None:
    async with (
        served(FakeClient(), http_config(header_timeout=0.3)) as url,
        connected(url) as (reader, writer),
    ):

        async def drip() -> None:
            writer.write(b"GET /")
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        late = read(await reader.read())
        dripping.cancel()
    assert late.status == 408


async def test_who_waits_for_an_answer_or_sends_a_body_is_not_late() -> None:
    client = FakeClient()
    client.pace, client.words = 0.1, ["x"] * 4
    async with (
        served(client, http_config(header_timeout=0.1)) as url,
        connected(url) as (reader, writer),
    ):
        head, body = (CHAT % (len(chat()), chat())).split(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        for byte in body[:5]:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)
        writer.write(body[5:] + LIVE)
        assert (await answer(reader)).status == 200
        assert b"alive" in (await answer(reader)).body


async def test_a_connection_that_asks_nothing_is_kept() -> None:
    """Pools open connections ahead, and keep them between requests."""
    async with (
        served(FakeClient(), http_config(header_timeout=0.05)) as url,
        connected(url) as (reader, writer),
    ):
        for _ in range(3):
            await asyncio.sleep(0.15)
            writer.write(LIVE)
            assert (await answer(reader)).status == 200


# Addresses (A7)


async def test_an_address_has_so_many_connections_and_hears_why_it_has_no_more() -> None:
    async with (
        served(FakeClient(), http_config(max_connections_per_address=3)) as url,
        AsyncExitStack() as stack,
    ):
        held = [await stack.enter_async_context(connected(url)) for _ in range(3)]
        for reader, writer in held:
            writer.write(MODELS)
            assert (await answer(reader)).status == 200
        for _ in range(5):
            more = read(await exchange(url, MODELS))
            assert (more.status, more.code, more.headers["connection"]) == (
                429,
                "too_many_connections",
                "close",
            )
            assert more.headers["retry-after"] == "1"
        assert read(await exchange(url, LIVE)).status == 200, "a probe is always answered"
        held[0][1].close()
        await _until_answered(url, 200)


async def _until_answered(url: str, status: int) -> None:
    async with asyncio.timeout(10):
        while (
            read(
                await exchange(url, MODELS.replace(b"Host: x", b"Host: x\r\nConnection: close"))
            ).status
            != status
        ):
            await asyncio.sleep(0.01)


@loops
def test_who_is_turned_away_and_asks_nothing_hears_it_all_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "VISIT_SECONDS", 0.1)
    run(_turned_away())


async def _turned_away() -> None:
    async with (
        served(FakeClient(), http_config(max_connections_per_address=1)) as url,
        connected(url),
    ):
        assert read(await exchange(url, b"")).code == "too_many_connections"
        assert read(await exchange(url, b"GE")).code == "too_many_connections"


async def test_without_a_limit_there_is_none() -> None:
    async with (
        served(FakeClient(), http_config(max_connections_per_address=0)) as url,
        AsyncExitStack() as stack,
    ):
        for _ in range(50):
            reader, writer = await stack.enter_async_context(connected(url))
            writer.write(MODELS)
            assert (await answer(reader)).status == 200


@given(st.ip_addresses(v=6).map(IPv6Address), st.integers(0, (1 << 64) - 1))
def test_a_subscribers_network_is_one_address(ip: IPv6Address, other: int) -> None:
    sibling = IPv6Address((int(ip) >> 64 << 64) | other)
    if ip.ipv4_mapped is None and sibling.ipv4_mapped is None:
        assert neighbourhood(str(ip)) == neighbourhood(str(sibling)) == neighbourhood(f"{ip}%eth0")
    assert neighbourhood(str(ip)) != neighbourhood(str(IPv6Address(int(ip) ^ 1 << 64)))


@given(st.ip_addresses(v=4).map(IPv4Address), st.ip_addresses(v=4).map(IPv4Address))
def test_each_v4_address_is_one_in_both_spellings(ip: IPv4Address, other: IPv4Address) -> None:
    assert neighbourhood(str(ip)) == neighbourhood(f"::ffff:{ip}") == str(ip)
    assert (neighbourhood(str(ip)) == neighbourhood(str(other))) == (ip == other)


# Files (E3)


@asynccontextmanager
async def with_files(spare: int) -> AsyncIterator[None]:
    """So many more descriptors than are open, for this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = {
        int(name) for name in os.listdir("/proc/self/fd")
    }  # by other tests too, and not without gaps
    free = (number for number in itertools.count() if number not in taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(free, spare, None)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Callers at once, in a process of their own, as their descriptors are not the server's. It is
    started before files are few: starting one takes some."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asks, self._says = process.stdin, process.stdout

    async def calls(self, port: int, callers: int, silent: int = 0) -> list[Answer]:
        """So many callers, the first `silent` of which ask nothing."""
        self._asks.write(f"{port} {callers} {silent}\n".encode())
        return [read(text.encode()) for text in json.loads(await self._says.readline())]


@asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    program = (
        "import asyncio, json, resource, sys\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))\n"
        "async def one(port, asks):\n"
        "    reader, writer = await asyncio.open_connection('127.0.0.1', port)\n"
        "    if asks: writer.write(b'GET /v1/models HTTP/1.1\\r\\nHost: x\\r\\nConnection: "
        "close\\r\\n\\r\\n')\n"
        "    try: return (await reader.read()).decode()\n"
        "    finally: writer.close()\n"
        "async def main(port, callers, silent):\n"
        "    said = await asyncio.gather(*(one(port, number >= silent) for number in "
        "range(callers)), return_exceptions=True)\n"
        "    print(json.dumps([one if isinstance(one, str) else repr(one) for one in said]), "
        "flush=True)\n"
        "for line in sys.stdin: asyncio.run(main(*map(int, line.split())))\n"
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=pipe, stdout=pipe, limit=1 << 24
    )
    try:
        yield Crowd(process)
    finally:
        await process.communicate(b"")  # the end of its input


@pytest.mark.parametrize("spare", [100, 40, 24, 20])
@loops
def test_beyond_its_files_every_caller_hears_503(
    run: Run, spare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 24 not one is served, at 40 a few are; nobody is closed without a byte, and then all is
    well again."""
    monkeypatch.setattr(accepting, "VISIT_SECONDS", 0.5)
    run(_beyond_its_files(spare))


async def _beyond_its_files(spare: int) -> None:
    async with served(FakeClient()) as url, crowd() as many:
        port = int(url.rpartition(":")[2])
        async with AsyncExitStack() as stack, with_files(spare):
            for _ in range(
                max(0, spare - 40) // 2
            ):  # these are served, and stay; both their ends are in this process
                reader, writer = await stack.enter_async_context(connected(url))
                writer.write(MODELS)
                assert (await answer(reader)).status == 200
            answers = await many.calls(port, 200)
            assert {one.status for one in answers} <= {200, 503}
            assert all(one.code == "too_many_open_files" for one in answers if one.status == 503)
            assert any(one.status == 503 for one in answers)
            if spare < 40:  # not one of these is served: each makes room when it has heard so
                answers = await many.calls(port, 60, silent=40)
                assert {one.status for one in answers} == {503}
        assert {one.status for one in await many.calls(port, 50)} == {200}


# Leaving (E5)


@pytest.mark.parametrize(
    "stage", ["head", "key", "body", "refused", "answered", "streamed", "probe"]
)
async def test_a_caller_that_leaves_is_one_line_at_INFO_at_most(
    stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    key = b"Authorization: Bearer k\r\n"
    post = CHAT % (len(chat()), chat())
    known = post.replace(b"Host: x\r\n", b"Host: x\r\n" + key)
    streamed = CHAT.replace(b"Host: x\r\n", b"Host: x\r\n" + key) % (
        len(chat(stream=True)),
        chat(stream=True),
    )
    sent = {
        "head": known[:40], "key": post, "body": known[:-5],
        "refused": known.replace(b"application/json", b"text/plain"),
        "answered": known, "streamed": streamed, "probe": LIVE,
    }[stage]  # fmt: skip
    client = FakeClient()
    client.pace = 0.001
    callers = 60
    async with served(client, http_config(api_key=("k",))) as url:
        port = int(url.rpartition(":")[2])
        for number in range(callers):
            caller = socket.create_connection(("127.0.0.1", port))
            caller.sendall(sent)
            for _ in range(number % 12):
                await asyncio.sleep(0)
            if number % 2:
                caller.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )  # by a reset
            caller.close()
        assert (await ask(url, "", method="GET", path="/live")).status == 200
    assert [
        record.message
        for record in caplog.records
        if record.levelno > logging.INFO or record.exc_info
    ] == []
    assert len([record for record in caplog.records if "caller" in record.message]) <= callers


# The end (E7)


@loops
def test_callers_in_the_last_moments_are_refused_or_hear_503_and_never_reset(run: Run) -> None:
    """They connect all the time while the server ends, some before they ask, some asking at
    once."""
    run(_last_moments())


async def _last_moments() -> None:
    client = FakeClient()
    settings = http_config()
    listener = open_listener(settings.server)
    port = listener.getsockname()[1]
    twin = listener.dup()  # as the director holds it
    app = make_app(client, settings)  # type: ignore[arg-type]
    runner = await accepting.serve_on(app, listener, limits_of(settings.server))
    outcomes: list[str] = []
    over = asyncio.Event()

    async def caller(pause: float) -> None:
        while not over.is_set():
            outcomes.append(await _last_call(port, pause))

    callers = [asyncio.create_task(caller(pause)) for pause in (0.0, 0.0, 0.001, 0.01)]
    while "200" not in outcomes:
        await asyncio.sleep(0.01)
    await close(app, runner, 1.0)
    await asyncio.sleep(0.05)
    over.set()
    await asyncio.gather(*callers)
    twin.close()
    assert set(outcomes) <= {"200", "503", "refused"}, set(outcomes)
    assert outcomes[-1] == "refused"


async def _last_call(port: int, pause: float) -> str:
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 5)
    except ConnectionRefusedError:
        await asyncio.sleep(0.001)
        return "refused"
    try:
        await asyncio.sleep(pause)
        writer.write(
            CHAT.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n")
            % (len(chat()), chat())
        )
        received = await reader.read()
        return str(read(received).status) if received else "nothing"
    except OSError as error:
        return type(error).__name__
    finally:
        writer.close()


@loops
def test_who_has_connected_and_asks_nothing_is_told_that_it_is_over(run: Run) -> None:
    run(_silent_at_the_end())


async def _silent_at_the_end() -> None:
    async with AsyncExitStack() as stack:
        async with served(FakeClient()) as url:
            silent, _ = await stack.enter_async_context(connected(url))
            kept, writer = await stack.enter_async_context(connected(url))
            writer.write(LIVE)
            assert (await answer(kept)).status == 200
            waiting = socket.create_connection(
                ("127.0.0.1", int(url.rpartition(":")[2]))
            )  # the kernel has let it in
        told = read(await silent.read())
        assert (told.status, told.code) == (503, "shutting_down")
        assert read(waiting.recv(65536)).code == "shutting_down"
        waiting.close()


async def test_while_it_drains_every_answer_ends_its_connection() -> None:
    client = FakeClient()
    async with served(client) as url, connected(url) as (reader, writer):
        writer.write(MODELS)
        assert "connection" not in (await answer(reader)).headers
        client.drain()
        writer.write(CHAT % (len(chat()), chat()))
        last = await answer(reader)
        assert (last.status, last.code, last.headers["connection"]) == (
            503,
            "shutting_down",
            "close",
        )
        assert await reader.read() == b""


# Expectations


@pytest.mark.parametrize(
    "line",
    [
        "OPTIONS *",
        "GET /none",
        "GET /live",
        "DELETE /v1/models",
        "PATCH /metrics?a=%ff",
        "POST /health",
    ],
)
@pytest.mark.parametrize("expectation", ["200-ok", "100-continue, 200-ok", "x" * 300])
async def test_an_unknown_expectation_is_refused_in_our_words(line: str, expectation: str) -> None:
    async with served(FakeClient()) as url, connected(url) as (reader, writer):
        writer.write(
            f"{line} HTTP/1.1\r\nHost: x\r\nExpect: {expectation}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 417 ")
    assert b"Server: thespis" in head
    assert json.loads(body)["error"]["code"] == "unsupported_expectation"
