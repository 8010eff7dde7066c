"""Bodies that are no JSON, or none that a request can be: a 4xx that says so, on every path,
however they come."""

import asyncio
import io
import json
import os
import threading
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from thespis.frontends.openai import app_state
from thespis.frontends.openai.bodies import reading as reading_of_bodies
from thespis.frontends.openai.bodies.receiving import LONG_TO_FREE, Received
from thespis.frontends.openai.bodies.scan import STEP, Scan, allowed

from ..fake import FakeClient, served

CHAT = "/v1/chat/completions"
PATHS = (CHAT, "/v1/completions", "/tokenize", "/detokenize")
GOOD = b'{"messages":[{"role":"user","content":"hi"}]}'
NO_JSON = {
    "nothing": b"",
    "blanks": b" \n\t",
    "half an object": b'{"messages":[{"role":"us',
    "two objects": GOOD + GOOD,
    "a trailing comma": b'{"messages":[],}',
    "single quotes": b"{'messages':[]}",
    "a BOM": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-16 without a BOM": GOOD.decode().encode("utf-16-le"),
    "Latin-1 in a text": b'{"messages":[{"role":"user","content":"caf\xe9"}]}',
    "Latin-1 in a role": b'{"messages":[{"role":"us\xe9r","content":"a"}]}',
    "Latin-1 in a key": b'{"messages":[{"role":"user","content":"a"}],"caf\xe9":1}',
    "Latin-1 in an unknown field": b'{"messages":[{"role":"user","content":"a"}],'
    b'"other":"caf\xe9"}',
    "Latin-1 in the model": b'{"model":"\xe9","messages":[{"role":"user","content":"a"}]}',
    "Latin-1 in stream_options": b'{"messages":[{"role":"user","content":"a"}],'
    b'"stream_options":{"\xe9":1}}',
    "Latin-1 outside a string": b'{"messages":\xe9}',
    "half a character at the end": b'{"messages":[{"role":"user","content":"a"}]}\xc3',
    "a surrogate in UTF-8": b'{"messages":[{"role":"user","content":"\xed\xa0\x80"}]}',
    "an overlong slash": b'{"messages":[{"role":"user","content":"\xc0\xaf"}]}',
    "beyond Unicode": b'{"messages":[{"role":"user","content":"\xf4\x90\x80\x80"}]}',
    "an escaped lone surrogate": b'{"messages":[{"role":"user","content":"\\ud800"}]}',
    "two escaped high surrogates": b'{"messages":[{"role":"user","content":"\\ud800\\ud800"}]}',
    "half an escape": b'{"messages":[{"role":"user","content":"\\u00"}]}',
    "a raw line break": b'{"messages":[{"role":"user","content":"a\nb"}]}',
    "NaN": b'{"messages":[{"role":"user","content":"a"}],"temperature":NaN}',
    "Infinity": b'{"messages":[{"role":"user","content":"a"}],"temperature":-Infinity}',
    "a leading zero": b'{"messages":[{"role":"user","content":"a"}],"temperature":01}',
    "too many closing brackets": GOOD + b"]}",
    "binary": bytes(range(256)),
}
NO_REQUEST = {
    "an array": b"[]",
    "a text": b'"messages"',
    "null": b"null",
    "a number": b"1" * 50_000,
    "a long number in a field": b'{"messages":[{"role":"user","content":"a"}],"model":'
    + b"9" * 50_000
    + b"}",
    "a long number in a list": b'{"messages":[{"role":"user","content":['
    + b"9" * 5_000
    + b']}],"tokens":"a"}',
}
TOO_COMPLEX = {
    "A1": b'{"model":"fake-model","audio":[' + b"[]," * 3_000_000 + b"[]]}",
    "objects": b'{"messages":[' + b"{}," * 3_000_000 + b"{}]}",
    "keys": b'{"mm_processor_kwargs":{' + b'"a":1,' * 1_000_000 + b'"b":1}}',
    "an unknown field": b'{"prompt":"a","other":[' + b"[]," * 1_000_000 + b"[]]}",
    "texts": b'{"stop":[' + b'"a",' * 1_000_000 + b'"b"]}',
    "depth": b'{"prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "depth in an unknown field": b'{"prompt":"a","other":'
    + b'{"a":' * 100_000
    + b"1"
    + b"}" * 100_000
    + b"}",
}


async def answer(url: str, path: str, body: Any) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"}
    data = io.BytesIO(body) if isinstance(body, bytes) else body
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + path, data=data, headers=headers) as response,
    ):
        return response.status, (await response.json()).get("error")


@pytest.mark.parametrize("path", PATHS)
async def test_B1_what_is_no_json_is_refused_as_such(path: str) -> None:
    client = FakeClient()
    async with served(client) as url:
        for name, body in NO_JSON.items():
            status, error = await answer(url, path, body)
            assert status == 400, name
            if path == CHAT or name not in ("Latin-1 in the model",):
                assert error["code"] in ("invalid_json", "missing_field"), (name, error)
            if path == CHAT:
                assert error["code"] == "invalid_json", (name, error)
    assert not client.submitted


@pytest.mark.parametrize("path", PATHS)
async def test_what_is_json_but_no_request_is_refused(path: str) -> None:
    client = FakeClient()
    async with served(client) as url:
        for name, body in NO_REQUEST.items():
            status, error = await answer(url, path, body)
            assert (status, error["type"]) == (400, "invalid_request_error"), name
    assert not client.submitted


@pytest.mark.parametrize("path", PATHS)
async def test_A1_structure_beyond_every_request_is_refused(path: str) -> None:
    async with served(FakeClient()) as url:
        for name, body in TOO_COMPLEX.items():
            status, error = await answer(url, path, body)
            assert (status, error["code"]) == (413, "body_too_complex"), name


async def test_A1_such_a_body_is_refused_before_most_of_it_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pieces: list[int] = []
    step = Scan._step

    def counted(self: Scan, data: bytes) -> None:
        pieces.append(len(data))
        step(self, data)

    monkeypatch.setattr(Scan, "_step", counted)
    over = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b'{"audio":['
        while not over.is_set():
            yield b"[]," * 10_000
            await asyncio.sleep(0)

    async with served(FakeClient()) as url:
        status, error = await answer(url, CHAT, endless())
        over.set()
    assert (status, error["code"]) == (413, "body_too_complex")
    assert sum(pieces) < 1 << 20


async def test_a_body_that_comes_byte_by_byte_is_read() -> None:
    async def drips() -> AsyncIterator[bytes]:
        for byte in json.dumps(
            {"messages": [{"role": "user", "content": 'ü\\"é😀'}]}, ensure_ascii=False
        ).encode():
            yield bytes([byte])

    client = FakeClient()
    async with served(client) as url:
        status, _ = await answer(url, CHAT, drips())
    assert status == 200
    assert client.submitted[0][0].messages[0].content[0].text == 'ü\\"é😀'  # type: ignore[union-attr]


async def test_of_two_equal_keys_the_last_counts() -> None:
    client = FakeClient()
    async with served(client) as url:
        status, _ = await answer(
            url,
            CHAT,
            b'{"max_tokens":1,"messages":[{"role":"user","content":"hi"}],"max_tokens":2}',
        )
    assert (status, client.submitted[0][2].max_tokens) == (200, 2)


async def test_in_one_turn_of_the_loop_at_most_one_piece_of_one_body_is_worked_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Streams go on in between, however many callers send bodies of whatever size at once."""
    turns, worked = 0, list[int]()
    feed, read = Scan.feed, reading_of_bodies.read

    def feeding(scan: Scan, data: bytes) -> None:
        worked.append(turns)
        assert len(data) <= STEP
        feed(scan, data)

    def reading(*given: Any) -> Any:
        worked.append(turns)
        return read(*given)

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(Scan, "feed", feeding)
    monkeypatch.setattr(app_state, "read", reading)
    body = b'{"prompt": "' + b"a b " * 50_000 + b'", "n": 0}'
    async with served(FakeClient()) as url:
        turning = asyncio.create_task(turn())
        answers = await asyncio.gather(*(answer(url, "/v1/completions", body) for _ in range(5)))
        turning.cancel()
    assert [status for status, _ in answers] == [400] * 5
    assert len(worked) >= 5 * (len(body) // STEP + 1)
    assert len(set(worked)) == len(worked)


def test_the_pages_of_a_large_body_are_given_back_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closing = list[str]()
    close = os.close

    def closed(fd: int) -> None:
        closing.append(threading.current_thread().name)
        close(fd)

    async def receive(size: int) -> None:
        body = Received(Scan(allowed(1)), size)
        for _ in range(size >> 20):
            body.scan.feed(b"1" * (1 << 20))
            body.add(b"1" * (1 << 20))
        monkeypatch.setattr("thespis.frontends.openai.bodies.receiving.os.close", closed)
        body.close()
        body.close()
        monkeypatch.undo()
        await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(receive(LONG_TO_FREE))
    assert len(closing) == 1
    assert closing[0] != threading.current_thread().name
