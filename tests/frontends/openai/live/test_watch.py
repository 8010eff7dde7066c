"""The events over HTTP: who may read them, when they end, and that nothing is told in them."""

import asyncio
import json
import socket
from typing import Any

import aiohttp
import pytest

from thespis.frontends.openai.gate.auth import tenant_of
from thespis.frontends.openai.live import handler, sampling
from thespis.protocol.edges.control import Live
from thespis.protocol.edges.detokenizer_to_client import Finished
from thespis.protocol.edges.scheduler_to_detokenizer import Usage
from thespis.protocol.edges.view import Happening, Incarnation, ItemSeen, Seen
from thespis.protocol.errors import EngineError
from thespis.protocol.requests.prepared import Timing

from ..fake import FakeClient, http_config, served
from .ledgers import SECRET, entry

KEY = {"Authorization": "Bearer sesame"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "PERIOD", 0.05)
    monkeypatch.setattr(sampling, "SOONEST", 0.01)


async def snapshot(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The next one."""
    event = (await response.content.readuntil(b"\n\n")).removeprefix(b"data: ")
    read: dict[str, Any] = json.loads(event)
    return read


async def settled(client: FakeClient) -> int:
    """How often it was looked at, once nobody watches."""
    async with asyncio.timeout(5):
        while client.observer is not None:
            await asyncio.sleep(0.01)
    return client.looked


async def test_the_page_is_open_and_its_data_are_not() -> None:
    config = http_config(api_key=("sesame", "other"))
    async with served(FakeClient(), config) as url, aiohttp.ClientSession() as session:
        for path in sorted(handler.PAGES):
            async with session.get(url + path) as response:
                assert response.status == 200
                policy = response.headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'")
                assert "unsafe" not in policy
        async with session.get(f"{url}/live-view/about") as response:
            assert await response.json() == {"key": True}
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            async with session.get(f"{url}/v1/live", headers=headers) as response:
                assert response.status == 401
        async with session.get(f"{url}/v1/live?key=sesame&api_key=sesame") as response:
            assert response.status == 401, "a key in a URL is in every log"
        async with session.get(f"{url}/v1/live", headers=KEY) as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
            assert (await snapshot(response))["model"] == "fake-model"


async def test_an_operator_may_leave_out_the_page_and_its_events() -> None:
    without = http_config(live_view=False)
    async with served(FakeClient(), without) as url, aiohttp.ClientSession() as session:
        for path in sorted({*handler.PAGES, handler.EVENTS}):
            async with session.get(url + path) as response:
                assert response.status == 404
        async with session.get(f"{url}/") as response:
            assert response.status == 200, "the playground is another page"
    keyed = http_config(live_view=False, api_key=("sesame",))
    async with (
        served(FakeClient(), keyed) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/live-view") as response,
    ):
        assert response.status == 401
    async with (
        served(FakeClient(), http_config(playground=False)) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/live-view") as response,
    ):
        assert response.status == 200


async def test_a_watcher_who_goes_ends_the_sampling() -> None:
    client = FakeClient()
    async with served(client) as url, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(f"{url}/v1/live") as one, session.get(f"{url}/v1/live") as other:
                first, second = await snapshot(one), await snapshot(other)
                assert first["ready"] is second["ready"] is True
                assert client.observer is not None
            looked = await settled(client)
            await asyncio.sleep(0.2)
            assert client.looked == looked


async def test_a_watcher_who_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "STUCK_SECONDS", 0.3)
    client = FakeClient()
    long = ItemSeen("k" * 64, "held" * 100, 1, 1, 1)

    async def much() -> Live:
        client.looked += 1
        seen = {"encoder-cache": Seen(items=(long,) * 64)}
        roles = {f"role-{n}" * 40: Incarnation("ready", 1, 0) for n in range(200)}
        return Live(client.looked, True, roles, {}, seen, ())

    client.live = much  # type: ignore[method-assign]
    monkeypatch.setattr(sampling, "PERIOD", 0.005)
    monkeypatch.setattr(sampling, "SOONEST", 0.001)
    async with served(client) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.socket() as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(caller, (host, int(port)))
            await loop.sock_sendall(caller, b"GET /v1/live HTTP/1.1\r\nHost: x\r\n\r\n")
            async with asyncio.timeout(15):
                while client.observer is None:
                    await asyncio.sleep(0.01)
                await settled(client)


async def test_a_server_that_ends_ends_the_events() -> None:
    client = FakeClient()
    async with aiohttp.ClientSession() as session:
        async with served(client) as url:
            response = await session.get(f"{url}/v1/live")
            await snapshot(response)
        async with asyncio.timeout(5):
            rest = await response.content.read()
        assert rest.count(b"data: ") == rest.count(b"\n\n")


async def test_the_events_tell_of_requests_by_ids_alone() -> None:
    client = FakeClient()
    timings = (Timing("preprocess", 100.0, 100.1),)
    one = entry("one", timings=timings, tokens=5, tenant=tenant_of("other"))
    client.entries = [one]
    config = http_config(api_key=("sesame", "other"))
    async with (
        served(client, config) as url,
        aiohttp.ClientSession(headers=KEY) as session,
        session.get(f"{url}/v1/live") as response,
    ):
        told = await snapshot(response)
        (request,) = told["requests"]
        assert (request["id"], request["output"], request["prompt"]) == ("one", 5, 3)
        assert request["key"] == 2
        assert [stage[0] for stage in request["stages"]] == ["preprocess", "queue"]
        assert client.observer is not None
        client.observer.ended(one, Finished("one", 0, Usage(3, 0, {}, 0), 5, timings))
        client.entries = []
        while not told.get("ended"):
            told = await snapshot(response)
        assert (told["ended"][0]["outcome"], told.get("requests")) == ("done", None)
        text = json.dumps(told)
        assert SECRET not in text
        assert tenant_of("other") not in text


async def test_a_death_comes_with_what_it_met() -> None:
    client = FakeClient()
    client.entries = [entry(timings=(), tokens=5)]
    happened: list[Happening] = []

    async def live() -> Live:
        state = "gone" if len(happened) == 1 else "ready"
        epoch = 1 + len(happened) // 2
        roles = {"gpu-runner": Incarnation(state, epoch, epoch - 1)}
        return Live(1, not happened, roles, {}, {}, tuple(happened))

    client.live = live  # type: ignore[method-assign]
    async with (
        served(client) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/v1/live") as response,
    ):
        assert "events" not in await snapshot(response)
        happened.append(Happening(10.0, "gpu-runner", 1, "ended", "signal 9: Killed"))
        assert client.observer is not None
        client.observer.changed()
        told = await snapshot(response)
        assert (told["processes"][0]["state"], told["ready"]) == ("gone", False)
        assert told["events"][0]["streams"] == {"caught": 1}
        happened.append(Happening(11.0, "gpu-runner", 2, "ready"))
        client.entries[0].choices[0].token_ids.append(9)
        while told["events"][-1].get("streams", {}).get("went_on") != 1:
            told = await snapshot(response)
        assert (told["processes"][0]["epoch"], told["events"][0]["after"]) == (2, 1.0)


async def test_an_engine_that_does_not_answer_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    client = FakeClient()

    async def silence() -> Live:
        raise EngineError("none")

    client.live = silence  # type: ignore[method-assign]
    async with (
        served(client) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/v1/live") as response,
    ):
        told = await snapshot(response)
    assert (told["answered"], told["ready"], told.get("processes")) == (False, False, None)
