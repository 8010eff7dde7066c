"""What cannot be taken is refused by its headers, before its body is there."""

import asyncio

import aiohttp
import pytest

from thespis.frontends.client.admission import Admission, Cost
from thespis.protocol.edges.control import Share
from thespis.protocol.errors import Failure

from .fake import FakeClient, full, http_config, served

HEAD = (
    "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
    "{length}\r\n\r\n"
)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(
    ("taken", "length"), [(Cost(2, 1, 0), 100), (Cost(1, 1, 1 << 20), 8 << 20)]
)
async def test_a_full_engine_answers_the_headers(path: str, taken: Cost, length: int) -> None:
    client = FakeClient()
    client.admission = Admission(Share(2, 1000, 4 << 20))
    client.admission.try_take(taken)
    async with served(client) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(HEAD.format(path=path, length=length).encode())
        async with asyncio.timeout(20):  # the body never comes
            answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.close()
    assert answer.startswith("HTTP/1.1 429 ")
    assert "Retry-After: 1" in answer
    assert not client.submitted


async def answer_to(url: str, head: str, seconds: float = 5.0) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(head.encode())
    async with asyncio.timeout(seconds):
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.close()
    return answer


async def test_who_asks_before_he_sends_is_not_told_to_go_on_where_he_would_be_refused() -> None:
    asking = (
        HEAD.format(path="/v1/completions", length=100).removesuffix("\r\n")
        + "Expect: 100-continue\r\n\r\n"
    )
    client = FakeClient()
    async with served(client) as url:
        assert (await answer_to(url, asking)).startswith("HTTP/1.1 100 ")
        client.admission = full()
        assert (await answer_to(url, asking)).startswith("HTTP/1.1 429 ")


@pytest.mark.parametrize(("key", "length", "status"), [("", 2, 401), ("k", 9, 400), ("k", 2, 404)])
async def test_nobody_is_told_to_send_a_body_where_none_is_taken(
    key: str, length: int, status: int
) -> None:
    head = HEAD.format(path="/v1/files/none/pin", length=length).removesuffix("\r\n")
    asking = f"{head}Authorization: Bearer {key}\r\nExpect: 100-continue\r\n\r\n"
    async with served(FakeClient(), http_config(api_key=("k",))) as url:
        assert (await answer_to(url, asking)).startswith(f"HTTP/1.1 {status} ")


async def test_a_refused_body_that_comes_all_the_same_is_thrown_away_and_the_connection_lives() -> (
    None
):
    client = FakeClient()
    client.admission = full()
    async with served(client) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        for _ in range(2):
            writer.write(
                HEAD.format(path="/v1/completions", length=1 << 20).encode() + bytes(1 << 20)
            )
            async with asyncio.timeout(5):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
                await reader.readexactly(length)
            assert head.startswith("HTTP/1.1 429 ")
        writer.close()


async def test_refusals_are_timed_and_what_was_read_first_is_none() -> None:
    client = FakeClient()
    async with served(client) as url, aiohttp.ClientSession(url) as http:
        client.refusal = Failure("overloaded", "Full behind the door.")
        assert (await http.post("/v1/completions", json={"prompt": "x"})).status == 429
        client.admission = full()
        for _ in range(3):
            assert (await http.post("/v1/completions", json={"prompt": "x"})).status == 429
        text = await (await http.get("/metrics")).text()
    assert 'thespis_refusal_seconds_count{model_name="fake-model"} 3.0' in text
    assert 'thespis_refusal_seconds_bucket{le="+Inf",model_name="fake-model"} 3.0' in text


async def test_a_body_that_never_comes_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "thespis.frontends.openai.bodies.receiving.Bodies.__init__.__defaults__", (0.2,)
    )
    client = FakeClient()
    client.admission = Admission(Share(1, 1000, 4 << 20))
    async with served(client) as url:
        idle = asyncio.create_task(answer_to(url, HEAD.format(path="/v1/completions", length=100)))
        while client.admission._expected.requests == 0:
            await asyncio.sleep(0.001)
        head = HEAD.format(path="/v1/completions", length=2)
        assert (await answer_to(url, head + "{}")).startswith("HTTP/1.1 429 ")
        assert (await idle).startswith("HTTP/1.1 400 ")
        assert (await answer_to(url, head + "{}")).startswith("HTTP/1.1 400 ")
