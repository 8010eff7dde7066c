"""Which way a body takes, and what becomes of it where a reader cannot read it: in real readers,
without an engine."""

import asyncio
import base64
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from thespis.actors.kernel import launch
from thespis.frontends.openai import app_state
from thespis.frontends.openai.app_state import terms_of
from thespis.frontends.openai.bodies import reader, readers, reading
from thespis.frontends.openai.bodies.handover import Job
from thespis.frontends.openai.bodies.reading import CHAT, SMALL_BYTES
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import Encoded

from ..fake import FakeClient, http_config, served

PATH = "/v1/chat/completions"


def chat(content: Any, **more: Any) -> bytes:
    return json.dumps(
        {"messages": [{"role": "user", "content": content}], **more}, ensure_ascii=False
    ).encode()


def picture(data: bytes, kind: str = "image/png") -> dict[str, Any]:
    return {
        "type": "image_url",
        "image_url": {"url": f"data:{kind};base64," + base64.b64encode(data).decode()},
    }


async def answer(url: str, path: str, body: bytes) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + path, data=io.BytesIO(body), headers=headers) as response,
    ):
        return response.status, await response.json()


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the bodies that the server reads by itself."""
    sizes: list[int] = []
    read = reading.read

    def counted(kind: Any, raw: bytes, terms: reading.Terms) -> Any:
        sizes.append(len(raw))
        return read(kind, raw, terms)

    monkeypatch.setattr(app_state, "read", counted)
    return sizes


PADDED = b" " * SMALL_BYTES
LARGE = {
    "one byte too many": chat("hi") + PADDED,
    "many messages": json.dumps({"messages": [{"role": "user", "content": "hi"}] * 5000}).encode(),
    "many token ids": chat("hi", stop_token_ids=list(range(40_000))),
    "many short texts": chat(["a"] * 20_000),
}


def test_a_reader_gives_way_before_its_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take as long as six steps of streams, and come with the first large body."""
    monkeypatch.setattr(launch, "YIELDING", 10)  # here it is 0
    one = readers.Reader()
    try:
        niceness = os.getpriority(os.PRIO_PROCESS, one._process.pid)
        assert niceness == min(19, os.nice(0) + 10)
    finally:
        one.kill().wait()


def test_a_reader_imports_nothing_that_speaks_to_the_engine() -> None:
    code = "import sys; from thespis.frontends.openai.bodies import reader; print(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"zmq", "aiohttp", "thespis.frontends.client.client"}.isdisjoint(said)


@pytest.mark.parametrize("name", LARGE)
async def test_what_is_not_small_is_read_in_another_process(name: str, inline: list[int]) -> None:
    client = FakeClient()
    async with served(client) as url:
        status, _ = await answer(url, PATH, LARGE[name])
        assert inline == []
        assert (await answer(url, PATH, chat("hi")))[0] == 200
    assert len(inline) == 1
    assert status == (413 if name == "many short texts" else 200)


async def test_a_call_is_the_same_whichever_way_it_took() -> None:
    tools = [
        {
            "type": "function",
            "function": {"name": "f", "parameters": {"properties": {"é": {"type": "string"}}}},
        }
    ]
    content = [
        {"type": "text", "text": "ü"},
        picture(b"one"),
        picture(b"two" * 50),
        {"image_url": "http://a.example/b.png", "uuid": "u"},
    ]
    body = chat(
        content,
        tools=tools,
        n=2,
        stop=["x"],
        seed=5,
        logit_bias={"3": 1.5},
        priority=7,
        mm_processor_kwargs={"a": [1]},
        user="me",
    )
    client = FakeClient()
    async with served(client) as url:
        for sent in (body, body + PADDED):
            status, _ = await answer(url, PATH, sent)
            assert status == 200
    small, large = client.submitted
    assert small[0] == large[0]
    assert small[2] == large[2]
    assert small[3] == large[3]
    assert [(item.modality, item.where, item.uuid) for item in small[1]] == [
        (item.modality, item.where, item.uuid) for item in large[1]
    ]
    for call in (small, large):
        blobs = [item.source.blob for item in call[1] if isinstance(item.source, Encoded)]
        assert [client.blobs[blob.offset] for blob in blobs] == [b"one", b"two" * 50]


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/completions", {"prompt": ["a", "b"], "echo": True, "max_tokens": 2}),
    ("/v1/completions", {"prompt": [[1, 2], [3]], "max_tokens": 2, "stream": False}),
    ("/tokenize", {"messages": [{"role": "user", "content": "hi"}]}),
    ("/detokenize", {"tokens": [5, 6, 7]}),
    ("/detokenize", {"tokens": [5, 6, 1 << 30]}),
    ("/tokenize", {}),
    (PATH, {"messages": [{"role": "user", "content": "hi"}], "model": "other"}),
    (PATH, {"messages": [{"role": "user", "content": "hi"}], "chat_template": "x"}),
    (PATH, {"messages": [{"role": "user", "content": "hi"}], "max_new_tokens": 3}),
    (PATH, {"messages": [{"role": "user", "content": "hi"}], "seed": 1 << 70}),
    (PATH, {"messages": [{"role": "user", "content": [{"type": "nothing"}]}]}),
]


async def test_so_is_its_answer() -> None:
    """One reader reads them all."""
    async with served(FakeClient()) as url:
        for path, body in ASKED:
            sent = json.dumps(body).encode()
            small, large = [await answer(url, path, one) for one in (sent, sent + PADDED)]
            for _, told in (small, large):
                for field in ("id", "created"):
                    told.pop(field, None)
            assert small == large, (path, body)


async def test_media_beyond_the_share_are_refused_and_leave_nothing(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    client = FakeClient()
    client.room = 1000
    async with served(client) as url:
        status, told = await answer(url, PATH, chat([picture(bytes(2000))]) + PADDED)
        assert (status, told["error"]["code"]) == (429, "overloaded")
        status, _ = await answer(
            url, PATH, chat([picture(bytes(500)), {"type": "nothing"}]) + PADDED
        )
        assert status == 400
        bad = chat([picture(bytes(500))], request_id="not/an id") + PADDED
        assert (await answer(url, PATH, bad))[0] == 400
        for id in ("x" * 129, "x" * 1024, "x" * 1025, "x" * (1 << 20), ""):
            status, told = await answer(
                url, PATH, chat([picture(bytes(500))], request_id=id) + PADDED
            )
            assert (status, told["error"]["param"], told["error"]["code"]) == (
                400,
                "request_id",
                "invalid_request_id",
            )
    assert client.blobs == {}
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
async def pool(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[readers.Readers]:
    made = readers.Readers(FakeClient(), terms_of(http_config()))  # type: ignore[arg-type]
    yield made
    made.close()


async def read(pool: readers.Readers, body: bytes) -> Any:
    file = os.memfd_create("body")
    try:
        os.write(file, body)
        return await pool.read(CHAT, file, len(body))
    finally:
        os.close(file)


async def test_a_reader_that_is_killed_costs_nothing(pool: readers.Readers) -> None:
    assert (await read(pool, chat("one"))).pieces
    (living,) = pool._all
    living._process.kill()
    assert (await read(pool, chat("two"))).pieces
    assert (pool.replaced, len(pool._all)) == (1, 1)


async def test_readers_that_ended_while_they_were_idle_convict_no_body(
    pool: readers.Readers,
) -> None:
    await asyncio.gather(*(read(pool, chat("one")) for _ in range(readers.READERS)))
    dead = list(pool._idle)
    assert len(dead) == readers.READERS >= readers.TRIES
    for idle in dead:
        idle._process.kill()
        os.waitid(os.P_PID, idle._process.pid, os.WEXITED | os.WNOWAIT)
    assert (await read(pool, chat("two"))).pieces
    assert (pool.replaced, len(pool._all)) == (len(dead), 1)


async def test_a_body_that_ends_its_readers_is_refused_and_the_next_is_read(
    pool: readers.Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = readers.Reader.ask

    async def dies(self: readers.Reader, *given: Any) -> Any:
        self._process.send_signal(signal.SIGSEGV)
        self._process.wait()
        return await whole(self, *given)

    monkeypatch.setattr(readers.Reader, "ask", dies)
    with pytest.raises(RequestError) as refused:
        await read(pool, chat("one"))
    monkeypatch.undo()
    assert (refused.value.status, refused.value.failure.code) == (422, "poison")
    assert (await read(pool, chat("two"))).pieces
    assert pool.replaced == readers.TRIES


async def test_a_reader_that_hangs_is_replaced(
    pool: readers.Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await read(pool, chat("one"))).pieces
    (living,) = pool._all
    os.kill(living._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(readers, "READ_SECONDS", 0.05)
    with pytest.raises(RequestError) as refused:
        await read(pool, chat("two"))
    assert refused.value.failure == reader.TOO_COMPLEX
    monkeypatch.undo()
    assert (await read(pool, chat("three"))).pieces


async def test_a_caller_that_leaves_takes_its_reader_with_it(pool: readers.Readers) -> None:
    assert (await read(pool, chat("one"))).pieces
    (living,) = pool._all
    os.kill(living._process.pid, signal.SIGSTOP)
    task = asyncio.create_task(read(pool, chat("two")))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert living._process.returncode == -signal.SIGKILL
    assert (await read(pool, chat("three"))).pieces


async def test_several_bodies_are_read_by_a_bounded_number_of_readers(
    pool: readers.Readers,
) -> None:
    calls = await asyncio.gather(*(read(pool, chat(f"{number}")) for number in range(8)))
    assert [call.pieces[0].prompt.messages[0].content[0].text for call in calls] == [
        f"{number}" for number in range(8)
    ]
    assert len(pool._all) <= readers.READERS


BEYOND = """
import os, sys
import msgspec
from thespis.frontends.openai.bodies import reader
from thespis.frontends.openai.bodies.handover import Head, Job

reader.MEMORY, reader.MEMORY_PER_BYTE = 0, 2
body = sys.stdin.buffer.read()
file, draft = os.memfd_create("body"), os.memfd_create("draft")
os.write(file, body)
job = msgspec.msgpack.decode(bytes.fromhex(sys.argv[1]), type=Job)
_, head, *pieces = reader.work(job, file, draft)
print(msgspec.msgpack.decode(head, type=Head).failure == reader.TOO_COMPLEX, pieces)
"""


def test_what_takes_more_memory_than_its_size_allows_is_refused() -> None:
    """In a process of its own, as readers are: what other tests have freed in this one would be
    room beyond the budget."""
    body = json.dumps({"messages": [], "guided_json": [[[]]] * 1_000_000}).encode()
    job = msgspec.msgpack.encode(Job("chat", len(body), "", terms_of(http_config())))
    program = [sys.executable, "-P", "-c", BEYOND, job.hex()]
    ran = subprocess.run(program, input=body, capture_output=True, timeout=60)
    assert ran.stdout == b"True []\n"
