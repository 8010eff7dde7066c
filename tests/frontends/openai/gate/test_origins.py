"""Web pages: which may call, what their browsers are told, and by which names this server may be
called."""

from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thespis.frontends.openai.gate.origins import Hosts, Origins, preflight
from thespis.protocol.config.engine import configure
from thespis.protocol.config.server import ServerConfig

from ..fake import FakeClient, http_config, served
from ..raw import ask, chat

CHAT = "/v1/chat/completions"
APP = "https://app.example"
JSON = "Content-Type: application/json"


async def call(
    url: str, method: str, path: str, headers: dict[str, str], **more: Any
) -> tuple[int, dict[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url + path, headers=headers, **more) as response,
    ):
        await response.read()
        return response.status, {name.lower(): value for name, value in response.headers.items()}


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "http://app.example", "https://app.example:444",
        "https://app.example.evil.example", "null", "",
        "https://app.exampleé", "http://127.0.0.1:8000", "http://localhost", "file://",
        "chrome-extension://abc", "https://app",
    ],
)  # fmt: skip
@pytest.mark.parametrize("allowed", [(), (APP,)])
async def test_a_page_that_was_not_allowed_changes_nothing(
    origin: str, allowed: tuple[str, ...]
) -> None:
    client = FakeClient()
    async with served(client, http_config(allowed_origins=allowed)) as url:
        answer = await ask(url, f"Origin: {origin}\n{JSON}\nContent-Length: {len(chat())}", chat())
        asked = await ask(
            url, f"Origin: {origin}\nAccess-Control-Request-Method: POST", method="OPTIONS"
        )
        seen = await ask(url, f"Origin: {origin}", method="GET", path="/v1/models")
    assert (answer.status, answer.code, asked.status) == (403, "origin_not_allowed", 403)
    assert client.submitted == []
    for one in (answer, asked, seen):
        assert "access-control-allow-origin" not in one.headers
    assert seen.status == 200  # its browser keeps this from the page


async def test_two_origins_are_none() -> None:
    async with served(FakeClient(), http_config(allowed_origins=(APP,))) as url:
        head = f"Origin: {APP}\nOrigin: https://evil.example\n{JSON}\nContent-Length: {len(chat())}"
        assert (await ask(url, head, chat())).status == 403


@pytest.mark.parametrize(
    ("allowed", "said"),
    [((APP, "http://localhost:3000"), APP), (("*",), "*"), (("HTTPS://App.Example",), APP)],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_page_that_was_allowed_is_asked_in_and_may_read(
    allowed: tuple[str, ...], said: str, stream: bool
) -> None:
    asking = {
        "Origin": APP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
    }
    async with served(FakeClient(), http_config(allowed_origins=allowed, api_key=("k",))) as url:
        status, asked = await call(url, "OPTIONS", CHAT, asking)
        assert (status, asked["access-control-allow-origin"]) == (204, said)
        assert asked["access-control-allow-headers"] == asking["Access-Control-Request-Headers"]
        assert asked["access-control-allow-methods"] == "POST"
        bearer = {"Origin": APP, "Authorization": "Bearer k"}
        body = {"messages": [{"role": "user", "content": "hi"}], "stream": stream}
        status, answered = await call(url, "POST", CHAT, bearer, json=body)
        assert (status, answered["access-control-allow-origin"]) == (200, said)
        assert "X-Request-Id" in answered["access-control-expose-headers"]
        assert answered.get("vary") == (None if said == "*" else "Origin")
        status, refused = await call(url, "POST", CHAT, {"Origin": APP}, json=body)
        assert (status, refused["access-control-allow-origin"]) == (401, said)


async def test_a_browser_is_asked_for_no_key_and_everybody_else_is() -> None:
    async with served(FakeClient(), http_config(allowed_origins=(APP,), api_key=("k",))) as url:
        assert (
            await call(
                url, "OPTIONS", "/nothing", {"Origin": APP, "Access-Control-Request-Method": "POST"}
            )
        )[0] == 404
        assert (await call(url, "OPTIONS", CHAT, {}))[0] == 401
        status, headers = await call(url, "OPTIONS", CHAT, {"Authorization": "Bearer k"})
        assert (status, headers["allow"]) == (204, "POST")


async def test_405_says_which_methods_there_are() -> None:
    async with served(FakeClient()) as url:
        status, headers = await call(url, "PUT", CHAT, {})
    assert (status, headers["allow"]) == (405, "POST")


@given(st.text(max_size=30))
def test_what_a_browser_is_granted_is_a_list_of_names_or_nothing(wanted: str) -> None:
    granted = preflight({"Access-Control-Request-Headers": wanted}, ["POST"]).get(
        "Access-Control-Allow-Headers"
    )
    assert granted is None or (
        granted == wanted and granted.isascii() and not set(granted) & set('\r\n\0:;"()')
    )


@given(st.text(max_size=30))
def test_only_the_very_origin_is_allowed(origin: str) -> None:
    allowed = Origins((APP,)).fault("POST", origin) is None
    assert allowed == (origin.lower() == APP and origin.isascii())
    assert Origins().fault("POST", origin) is not None
    assert Origins().fault("POST", None) is None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.1:8000", "localhost", "LOCALHOST:1", "api.localhost", "[::1]:8000",
        "192.168.0.7", "thespis:80",
        "host.docker.internal:8000", "localhost.", "[fe80::1]", "",
    ],
)  # fmt: skip
def test_names_that_no_stranger_can_own_are_answered(host: str) -> None:
    assert Hosts(keyless_loopback=True).fault(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example",
        "evil.localhost.example",
        "1.2.3", "127.0.0.1:x", "evil.example.", "xlocalhost.example", "[::1].evil.example", "a.é",
        "127.0.0.1:80:80",
    ],
)  # fmt: skip
def test_S2_a_name_that_was_pointed_here_is_not(host: str) -> None:
    assert Hosts(keyless_loopback=True).fault(host) is not None
    assert Hosts(("good.example",)).fault(host) is not None
    assert Hosts().fault(host) is None


async def test_a_keyless_server_on_loopback_minds_how_it_is_called() -> None:
    request = "GET /v1/models HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n"
    from ..raw import exchange, read

    for settings, host, status in (
        ({}, "evil.example:8000", 403),
        ({}, "127.0.0.1:8000", 200),
        ({"allowed_hosts": ("good.example",)}, "good.example", 200),
        ({"allowed_hosts": ("good.example",)}, "GOOD.example.:443", 200),
        ({"api_key": ("k",)}, "proxied.example", 401),
    ):
        async with served(FakeClient(), http_config(**settings)) as url:  # type: ignore[arg-type]
            answer = read(await exchange(url, request.format(host).encode()))
        assert answer.status == status, (settings, host)


@pytest.mark.parametrize(
    "origin",
    [
        "app.example",
        "https://",
        "https://app.example/",
        "https://a,b",
        "https://*.example",
        " ",
        "https://u@x",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        configure(ServerConfig, {"allowed_origins": (origin,)})
