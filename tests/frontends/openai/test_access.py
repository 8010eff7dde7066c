"""One line of the log for each request, with the caller's own id; none with --no-access-log."""

import asyncio
import logging
from typing import Any

import aiohttp
import pytest

from thespis.actors.kernel.logs import FIELDS
from thespis.protocol.errors import Failure

from .fake import FakeClient, http_config, post, served, stream_bytes

HELLO = {"messages": [{"role": "user", "content": "hi"}]}
CHAT = "/v1/chat/completions"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.DEBUG, logger="thespis")

    def read(level: int = logging.INFO) -> list[dict[str, Any]]:
        return [
            getattr(record, FIELDS)
            for record in caplog.records
            if hasattr(record, FIELDS) and record.levelno >= level
        ]

    return read


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_request_leaves_one_line(lines: Any, streamed: bool) -> None:
    async with served(FakeClient()) as url:
        mine = {"X-Request-Id": "mine:7"}
        if streamed:
            await stream_bytes(url, CHAT, HELLO)
        else:
            _, _, headers = await post(url, CHAT, HELLO, headers=mine)
            assert headers["X-Request-Id"] == "mine:7"
    (line,) = lines()
    assert 0 <= line.pop("ttft") <= line.pop("duration") < 10
    assert line == {
        "method": "POST",
        "path": CHAT,
        "status": 200,
        "id": "r1" if streamed else "mine:7",
        "prompt_tokens": 3,
        "output_tokens": 5,
        "finish": "stop",
    }


async def test_so_do_refusals_and_failures(lines: Any) -> None:
    client = FakeClient()
    mine = {"X-Request-Id": "mine"}
    async with served(client, http_config(api_key=("sesame",))) as url:
        status, _, headers = await post(url, CHAT, HELLO, headers=mine)
        assert (status, headers["X-Request-Id"]) == (401, "mine")
        key = {"Authorization": "Bearer sesame"}
        await post(url, CHAT, {"messages": []}, headers=key)
        client.refusal = Failure("overloaded", "Full.", code="overloaded")
        await post(url, CHAT, HELLO, headers=key)
        client.refusal, client.fail_after = None, 2
        async with aiohttp.ClientSession() as http:
            body = {**HELLO, "stream": True}
            async with http.post(f"{url}{CHAT}", json=body, headers=key) as response:
                await response.read()
    said = [(line["status"], line["error"], line.get("id")) for line in lines()]
    assert said == [
        (401, "invalid_api_key", "mine"),
        (400, "empty_messages", None),
        (429, "overloaded", None),
        (200, "restarted", "r1"),
    ]


async def test_so_does_a_caller_who_leaves(lines: Any) -> None:
    client = FakeClient()
    client.pace = 3600.0
    async with served(client) as url:
        asked = asyncio.create_task(post(url, CHAT, HELLO))
        while not client.submitted:
            await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        async with asyncio.timeout(5):
            await client.cancel_seen.wait()
            while not lines():
                await asyncio.sleep(0.01)
        client.pace = 0.0
        async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
            counted = await response.text()
    (line,) = lines()
    assert (line["status"], line["finish"], line["id"]) == (499, "abort", "r1")
    assert 'finished_reason="abort",model_name="fake-model"} 1.0' in counted


async def test_so_does_one_who_leaves_in_the_middle_of_a_stream(lines: Any) -> None:
    client = FakeClient()
    client.words, client.pace = ["word "] * 500, 0.01
    async with served(client) as url:
        body = {**HELLO, "stream": True}
        async with aiohttp.ClientSession() as http, http.post(f"{url}{CHAT}", json=body) as answer:
            assert answer.status == 200
            await answer.content.readany()
            answer.close()
        async with asyncio.timeout(5):
            while not lines():
                await asyncio.sleep(0.01)
        async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
            counted = await response.text()
    (line,) = lines()
    assert (line["status"], line["finish"], line["id"]) == (499, "abort", "r1")
    assert 'finished_reason="abort",model_name="fake-model"} 1.0' in counted


@pytest.mark.parametrize("id", ["", "a b", "x" * 129, "-x", "a\tb", 'a"b', "é"])
async def test_an_id_that_is_none_is_neither_told_nor_logged(lines: Any, id: str) -> None:
    asked = aiohttp.ClientSession(headers={"X-Request-Id": id})
    async with (
        served(FakeClient()) as url,
        asked as http,
        http.get(f"{url}/v1/models") as response,
    ):
        assert response.status == 200
        assert "X-Request-Id" not in response.headers
    assert [line.get("id") for line in lines()] == [None]


async def test_probes_are_no_news_while_all_is_well(lines: Any) -> None:
    client = FakeClient()
    async with served(client) as url, aiohttp.ClientSession() as http:
        for path in ("/health", "/live", "/ping", "/metrics", "/load", "/version"):
            async with http.get(url + path):
                pass
        assert (len(lines()), len(lines(logging.DEBUG))) == (0, 6)
        client.ready = False
        async with http.get(f"{url}/health"):
            pass
    assert [(line["path"], line["status"]) for line in lines()] == [("/health", 503)]


async def test_what_stands_behind_a_path_is_not_logged(
    lines: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(FakeClient()) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/v1/{'x' * 1000}?key=se5ame"):
            pass
        async with http.get(f"{url}/a%0A2026%1b[31m"):
            pass
    first, second = lines()
    assert len(first["path"]) == 200
    assert second["path"] == "/a%0A2026%1B%5B31m"
    assert "se5ame" not in caplog.text


async def test_a_line_has_its_place_for_a_path_where_there_is_none(
    lines: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(FakeClient()) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        await reader.read()
        writer.close()
    (line,) = lines()
    assert line["path"] == "-"
    assert "CONNECT - 404 " in caplog.text


async def test_no_line_where_the_operator_wants_none(lines: Any) -> None:
    async with served(FakeClient(), http_config(access_log=False)) as url:
        await post(url, CHAT, HELLO)
    assert lines(logging.DEBUG) == []
