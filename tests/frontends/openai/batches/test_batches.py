"""/v1/batches by the official client: every line once, whatever happens to the server meanwhile."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import openai
import pytest
from openai.types import Batch

from thespis.frontends.openai.batches import job
from thespis.frontends.openai.batches.lines import MAX_LINE
from thespis.frontends.openai.requests.batches import LAST
from thespis.protocol.errors import Failure

from ..fake import FakeClient, http_config, served

CHAT: Any = "/v1/chat/completions"
TEXT = "a red circle é!"


def line(custom_id: str, url: str = CHAT, **body: Any) -> dict[str, Any]:
    message = {"role": "user", "content": custom_id}
    asked = {"messages": [message]} if url == CHAT else {"prompt": custom_id}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": {**asked, **body}}


def jsonl(*lines: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


def connect(url: str, key: str = "sesame") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


@pytest.fixture
def config(tmp_path: Path) -> Any:
    return http_config(data_folder=str(tmp_path / "data"), api_key=("sesame", "poppy"))


@pytest.fixture
async def url(config: Any) -> AsyncIterator[str]:
    async with served(FakeClient(), config) as url:
        yield url


async def created(api: openai.AsyncOpenAI, data: bytes, path: Any = CHAT, **more: Any) -> Batch:
    file = await api.files.create(file=("in.jsonl", data), purpose="batch")
    given = {"completion_window": "24h", **more}
    return await api.batches.create(input_file_id=file.id, endpoint=path, **given)


async def ended(api: openai.AsyncOpenAI, batch: Batch, seconds: float = 20.0) -> Batch:
    async with asyncio.timeout(seconds):
        while batch.status in ("validating", "in_progress", "finalizing", "cancelling"):
            await asyncio.sleep(0.05)
            batch = await api.batches.retrieve(batch.id)
    return batch


async def rows(api: openai.AsyncOpenAI, id: str | None) -> list[dict[str, Any]]:
    if id is None:
        return []
    return [json.loads(one) for one in (await api.files.content(id)).text.splitlines()]


async def test_a_batch_is_answered_line_by_line(url: str) -> None:
    async with connect(url) as api:
        data = jsonl(line("one"), line("two", model="other"), line("three", n=2), line("four"))
        batch = await created(api, data, metadata={"a": "b"})
        assert (batch.object, batch.status, batch.endpoint) == ("batch", "validating", CHAT)
        assert batch.expires_at == batch.created_at + 24 * 3600
        batch = await ended(api, batch)
        assert (batch.status, batch.metadata) == ("completed", {"a": "b"})
        assert batch.request_counts is not None
        counts = batch.request_counts
        assert (counts.total, counts.completed, counts.failed) == (4, 3, 1)
        found = {one["custom_id"]: one for one in await rows(api, batch.output_file_id)}
        assert set(found) == {"one", "three", "four"}
        answer = found["one"]["response"]
        assert (answer["status_code"], found["one"]["error"]) == (200, None)
        assert answer["body"]["choices"][0]["message"]["content"] == TEXT
        assert answer["request_id"]
        assert len(found["three"]["response"]["body"]["choices"]) == 2
        (wrong,) = await rows(api, batch.error_file_id)
        assert (wrong["custom_id"], wrong["response"]["status_code"]) == ("two", 404)
        assert wrong["response"]["body"]["error"]["code"] == "model_not_found"
        assert batch.output_file_id is not None
        output = await api.files.retrieve(batch.output_file_id)
        assert output.purpose == "batch_output"
        assert [one.id async for one in api.batches.list()] == [batch.id]


async def test_nobody_sees_anothers_batches(url: str) -> None:
    async with connect(url) as api, connect(url, "poppy") as other:
        batch = await created(api, jsonl(line("one")))
        for ask in (other.batches.retrieve, other.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                await ask(batch.id)
        with pytest.raises(openai.NotFoundError):
            await other.batches.create(
                input_file_id=batch.input_file_id, endpoint=CHAT, completion_window="24h"
            )
        assert [one.id async for one in other.batches.list()] == []
        await ended(api, batch)


async def test_lines_go_behind_everybody_who_waits(config: Any) -> None:
    client = FakeClient()
    async with served(client, config) as url, connect(url) as api:
        path = "/v1/completions"
        batch = await created(api, jsonl(line("x", path, priority=-5)), path)
        assert (await ended(api, batch)).status == "completed"
    assert [more["priority"] for *_, more in client.submitted] == [LAST]


async def test_a_batch_waits_while_the_engine_is_full(config: Any) -> None:
    client = FakeClient()
    client.refusal = Failure("overloaded", "Full.", code="overloaded")
    async with served(client, config) as url, connect(url) as api:
        batch = await created(api, jsonl(line("one"), line("two")))
        await asyncio.sleep(0.5)
        assert (await api.batches.retrieve(batch.id)).status == "in_progress"
        client.refusal = None
        batch = await ended(api, batch)
        assert batch.request_counts is not None
        assert batch.request_counts.completed == 2


async def test_a_new_server_goes_on_where_the_old_one_stopped(config: Any) -> None:
    """Twice: the file has every request once."""
    first, second, third = FakeClient(), FakeClient(), FakeClient()
    first.pace = second.pace = 0.02
    asked = [f"n{number}" for number in range(300)]
    id = ""
    for client, wanted in ((first, 150), (second, 120), (third, 0)):
        async with served(client, config) as url, connect(url) as api:
            batch = (
                await api.batches.retrieve(id)
                if id
                else await created(api, jsonl(*map(line, asked)))
            )
            id = batch.id
            async with asyncio.timeout(20):
                while wanted and len(client.submitted) < wanted:
                    await asyncio.sleep(0.01)
            if not wanted:
                batch = await ended(api, batch)
                found = [one["custom_id"] for one in await rows(api, batch.output_file_id)]
    assert sorted(found) == sorted(asked)
    assert batch.request_counts is not None
    assert batch.request_counts.completed == 300
    assert len(third.submitted) < 200


async def test_two_servers_on_one_folder_do_each_line_once(config: Any) -> None:
    clients = FakeClient(), FakeClient()
    async with (
        served(clients[0], config) as one,
        served(clients[1], config) as two,
        connect(one) as api,
        connect(two) as other,
    ):
        files = [jsonl(*(line(f"{n}-{m}") for m in range(20))) for n in range(4)]
        batches = [await created(api, data) for data in files]
        for _ in range(2):  # both look for work
            await created(other, jsonl(line("x")))
        for batch in batches:
            assert (await ended(other, batch)).status == "completed"
    told = " ".join(str(prompt) for client in clients for prompt, *_ in client.submitted)
    asked = re.findall(r"'(\d-\d+)'", told)
    assert (len(asked), len(set(asked))) == (80, 80)


async def test_a_cancelled_batch_keeps_what_it_has(config: Any) -> None:
    client = FakeClient()
    async with served(client, config) as url, connect(url) as api:
        client.pace = 0.01
        batch = await created(api, jsonl(*(line(f"{n}") for n in range(2000))))
        while len(client.submitted) < 100:
            await asyncio.sleep(0.01)
        batch = await api.batches.cancel(batch.id)
        assert batch.status == "cancelling"
        assert batch.cancelling_at is not None
        batch = await ended(api, batch)
        assert batch.status == "cancelled"
        assert batch.cancelled_at is not None
        done = await rows(api, batch.output_file_id)
        assert 0 < len(done) < 2000
        assert (await api.batches.cancel(batch.id)).status == "cancelled"


@pytest.mark.parametrize(
    ("data", "code", "at"),
    [
        (b"\n\n", "empty_file", None),
        (b"{", "invalid_json_line", 1),
        (b"[]", "invalid_line", 1),
        (b"\xff\xfe", "invalid_json_line", 1),
        (jsonl(line("a"), line("a")), "duplicate_custom_id", 2),
        (jsonl(line("")), "invalid_custom_id", 1),
        (jsonl(line("x" * 600)), "invalid_custom_id", 1),
        (jsonl(line("a", "/v1/completions")), "mismatched_url", 1),
        (jsonl({**line("a"), "method": "GET"}), "invalid_method", 1),
        (jsonl({**line("a"), "body": [1]}), "invalid_body", 1),
        (jsonl({**line("a"), "custom_id": 7}), "invalid_line", 1),
        (b"[" * 100_000, "invalid_line", 1),
        (jsonl(line("a")) + b'{"custom_id": "' + b"x" * (MAX_LINE + 10), "line_too_long", 2),
    ],
)  # fmt: skip
async def test_a_file_that_is_wrong_is_said_line_by_line(
    url: str, data: bytes, code: str, at: int | None
) -> None:
    async with connect(url) as api:
        batch = await ended(api, await created(api, data))
        assert batch.status == "failed"
        assert batch.errors is not None
        assert batch.errors.data is not None
        assert (batch.errors.data[0].code, batch.errors.data[0].line) == (code, at)
        assert (batch.output_file_id, batch.error_file_id) == (None, None)


@pytest.mark.parametrize(
    "change",
    [{"endpoint": "/v1/nothing"}, {"endpoint": "/v1/files"}, {"completion_window": "1s"},
     {"completion_window": "0h"}, {"completion_window": "999h"}, {"input_file_id": "file-x"},
     {"input_file_id": "x" * 1000}, {"metadata": {"k" * 65: "v"}},
     {"metadata": {str(n): "v" for n in range(17)}}, {"metadata": {"k": 7}},
     {"output_expires_after": {"anchor": "now", "seconds": 3600}},
     {"output_expires_after": {"anchor": "created_at", "seconds": 1}}],
)  # fmt: skip
async def test_a_wrong_batch_is_refused(url: str, change: dict[str, Any]) -> None:
    async with connect(url) as api:
        file = await api.files.create(file=b"{}", purpose="batch")
        asked = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **change}
        with pytest.raises(openai.APIStatusError) as error:
            await api.batches.create(**asked)
        assert error.value.status_code in (400, 404)
        if "input_file_id" in change:
            assert error.value.param == "input_file_id"
            assert "input_file_id: " in str(error.value)
        assert [one.id async for one in api.batches.list()] == []


async def test_what_one_line_asks_wrongly_is_its_own_affair(url: str) -> None:
    asked = [
        line("stream", stream=True),
        line("nothing") | {"body": {}},
        line("wild", max_tokens=-5),
        line("unknown", max_new_tokens=5),
        line("good"),
        line("deep", chat_template_kwargs=json.loads("[" * 90 + "]" * 90)),
    ]
    async with connect(url) as api:
        batch = await ended(api, await created(api, jsonl(*asked)))
        assert batch.status == "completed"
        good = [one["custom_id"] for one in await rows(api, batch.output_file_id)]
        wrong = {one["custom_id"]: one for one in await rows(api, batch.error_file_id)}
        assert good == ["good"]
        assert len(wrong) == 5
        assert wrong["stream"]["error"]["code"] == "no_stream"
        assert wrong["wild"]["response"]["status_code"] == 400


async def test_a_batch_whose_window_is_over_says_what_was_not_done(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = FakeClient()
    client.pace = 3600.0
    monkeypatch.setattr(job, "LOOK_SECONDS", 0.05)
    async with served(client, config) as url, connect(url) as api:
        batch = await created(api, jsonl(line("one"), line("two")), completion_window="1h")
        while len(client.submitted) < 2:
            await asyncio.sleep(0.01)
        now = time.time()
        later = SimpleNamespace(monotonic=time.monotonic, time=lambda: now + 3700)
        monkeypatch.setattr(job, "time", later)
        batch = await ended(api, batch)
        assert batch.status == "expired"
        undone = await rows(api, batch.error_file_id)
        assert [one["error"]["code"] for one in undone] == ["batch_expired"] * 2


async def test_answers_longer_than_one_piece_come_whole(config: Any) -> None:
    client = FakeClient()
    client.words = ["x" * (2 << 20)]
    async with served(client, config) as url, connect(url) as api:
        batch = await ended(api, await created(api, jsonl(line("long"))))
        (found,) = await rows(api, batch.output_file_id)
        content = found["response"]["body"]["choices"][0]["message"]["content"]
        assert content == "x" * (2 << 20)


async def test_metrics_tell_what_is_stored_and_how_batches_fare(url: str) -> None:
    async with connect(url) as api, aiohttp.ClientSession() as session:

        async def told() -> dict[str, float]:
            async with session.get(f"{url}/metrics") as response:
                found = re.findall(
                    r'^(thespis_(?:stored|batches)\w*)\{.*(?:kind|status)="(\w+)".*\} (\S+)$',
                    await response.text(),
                    re.MULTILINE,
                )
            return {f"{name} {kind}": float(value) for name, kind, value in found}

        assert not any(name.startswith("thespis_stored") for name in await told())
        data = jsonl(line("one"))
        await ended(api, await created(api, data))
        known = await told()
        assert known["thespis_stored_entries files"] == 2  # what it was given, and what came out
        assert known["thespis_stored_bytes files"] > len(data)
        assert known["thespis_stored_entries batches"] == 1
        assert known["thespis_stored_entries responses"] == 0
        assert known["thespis_batches_ended_total completed"] == 1
        assert known["thespis_batches in_progress"] == 0
        await ended(api, await created(api, b"nonsense"))
        assert (await told())["thespis_batches_ended_total failed"] == 1
