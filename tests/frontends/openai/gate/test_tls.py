"""https: by the clients that people use, and with callers who never finish, speak no TLS, or
leave."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from thespis.frontends.openai.gate import accepting
from thespis.protocol.config.roles import HttpConfig
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.config.server_tls import with_tls

from ....helpers.certificates import Made, make_certificate, needs_openssl
from ..fake import WORDS, FakeClient, http_config, served

pytestmark = needs_openssl
Run = Callable[[Coroutine[Any, Any, None]], None]
loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
HEAD_SECONDS = 0.5


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make_certificate(tmp_path)


def secured(made: Made, **more: Any) -> HttpConfig:
    certificate, key = map(str, made)
    server = with_tls(ServerConfig(ssl_certfile=certificate, ssl_keyfile=key))
    return http_config(tls=server.tls, header_timeout=HEAD_SECONDS, **more)


def trusting(made: Made) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(made.certificate))


@loops
def test_openais_client_over_https(run: Run, made: Made) -> None:
    async def converse() -> None:
        async with served(FakeClient(), secured(made, api_key=("sesame",))) as url:
            assert url.startswith("https://")
            async with (
                DefaultAsyncHttpxClient(verify=trusting(made)) as http,
                AsyncOpenAI(base_url=f"{url}/v1", api_key="sesame", http_client=http) as client,
            ):
                stream = await client.chat.completions.create(
                    model="fake-model", messages=[{"role": "user", "content": "hi"}], stream=True
                )
                said = [c.choices[0].delta.content or "" async for c in stream if c.choices]
            assert "".join(said) == "".join(WORDS)

    run(converse())


async def test_who_does_not_trust_the_certificate_does_not_speak(made: Made) -> None:
    async with served(FakeClient(), secured(made)) as url:
        async with httpx.AsyncClient() as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(f"{url}/live")
        async with httpx.AsyncClient(verify=trusting(made)) as http:
            answer = await http.get(f"{url}/live")
            assert (answer.status_code, answer.http_version) == (200, "HTTP/1.1")


@loops
def test_old_versions_are_not_spoken(run: Run, made: Made) -> None:
    async def ask() -> None:
        context = trusting(made)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        async with served(FakeClient(), secured(made)) as url:
            port = int(url.rpartition(":")[2])
            with pytest.raises(OSError):  # noqa: PT011
                await asyncio.open_connection("127.0.0.1", port, ssl=context)

    with pytest.warns(DeprecationWarning, match="TLSv1"):
        run(ask())


@loops
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_handshake_that_is_never_finished_is_cut(run: Run, made: Made, sent: bytes) -> None:
    async def wait() -> None:
        config = secured(made, max_connections_per_address=2)
        async with served(FakeClient(), config) as url:
            port = int(url.rpartition(":")[2])
            began = time.monotonic()
            callers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            for reader, writer in callers:
                writer.write(sent)
                async with asyncio.timeout(HEAD_SECONDS + 3):
                    try:
                        await reader.read()
                    except ConnectionError:
                        continue
                    finally:
                        writer.close()
            if sent != b"GET / HTTP/1.1\r\n\r\n":  # whose answer needs no patience
                assert time.monotonic() - began > HEAD_SECONDS * 0.9
            async with httpx.AsyncClient(verify=trusting(made)) as http:
                assert (await http.get(f"{url}/live")).status_code == 200

    run(wait())


async def test_a_handshake_counts_as_a_connection_of_its_address(made: Made) -> None:
    certificate, key = map(str, made)
    server = with_tls(ServerConfig(ssl_certfile=certificate, ssl_keyfile=key))
    async with served(
        FakeClient(), http_config(tls=server.tls, max_connections_per_address=1)
    ) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        async with httpx.AsyncClient(verify=trusting(made)) as http:
            assert (await http.get(f"{url}/v1/models")).status_code == 429
        writer.close()


@loops
def test_who_is_turned_away_is_let_go_however_long_the_handshake_was(
    run: Run, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one address holds as many connections as it likes, each after a slow handshake."""
    monkeypatch.setattr(accepting, "VISIT_SECONDS", 0.1)

    async def linger() -> None:
        config = secured(made, max_connections_per_address=1)
        async with served(FakeClient(), config) as url:
            port = int(url.rpartition(":")[2])
            _, first = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(made))
            slow = socket.create_connection(("127.0.0.1", port))
            slow.setblocking(False)
            await asyncio.sleep(0.3)  # longer than the visit, and not too long for a handshake
            reader, writer = await asyncio.open_connection(
                sock=slow, ssl=trusting(made), server_hostname="127.0.0.1"
            )
            async with asyncio.timeout(5):
                assert b" 429 " in await reader.readline()
            writer.close()
            first.close()

    run(linger())


@loops
def test_the_end_does_not_wait_for_a_handshake(run: Run, made: Made) -> None:
    async def leave() -> None:
        config = secured(made)
        async with served(FakeClient(), config) as url:
            port = int(url.rpartition(":")[2])
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            async with httpx.AsyncClient(verify=trusting(made)) as http:
                assert (await http.get(f"{url}/live")).status_code == 200
            began = time.monotonic()
        assert time.monotonic() - began < 5
        writer.close()

    run(leave())
