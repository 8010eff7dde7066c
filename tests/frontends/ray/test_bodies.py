"""A door holds bodies within its limits, and reads none of who has no key."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from multidict import CIMultiDict

from thespis.frontends.openai.gate.auth import Keys
from thespis.frontends.ray.bodies import AT_ONCE, HeldBodies
from thespis.frontends.ray.door import DoorConfig, RayDoor, headers_of
from thespis.frontends.ray.edge import (
    END,
    AnswerHead,
    AnswerPiece,
    CallHead,
    asked_of,
    encode,
)
from thespis.protocol.errors import RequestError

MOST = 100


class Sent:
    def __init__(self, chunks: Sequence[bytes], hangs: bool = False) -> None:
        self.chunks, self.hangs = chunks, hangs
        self.read = 0

    async def stream(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            self.read += len(chunk)
            yield chunk
        if self.hangs:
            await asyncio.Event().wait()


async def test_a_body_is_held_as_long_as_somebody_has_it() -> None:
    bodies = HeldBodies(MOST)
    body = await bodies.receive(Sent([b"a" * 30, b"b" * 30, b""]), 0)
    assert (body.data, bodies.held) == (b"a" * 30 + b"b" * 30, 60)
    del body
    gc.collect()
    assert bodies.held == 0


@pytest.mark.parametrize("announced", [0, 50])
async def test_one_that_grows_too_large_is_refused_and_let_go(announced: int) -> None:
    bodies, sent = HeldBodies(MOST), Sent([b"x" * 60] * 9)
    with pytest.raises(RequestError) as error:
        await bodies.receive(sent, announced)
    assert (error.value.failure.code, sent.read) == ("body_too_large", 120)
    del error
    gc.collect()
    assert bodies.held == 0


async def test_one_that_is_announced_too_large_is_not_read() -> None:
    sent = Sent([b"x"])
    with pytest.raises(RequestError, match="larger"):
        await HeldBodies(MOST).receive(sent, MOST + 1)
    assert not sent.read


async def test_all_together_are_bounded() -> None:
    bodies = HeldBodies(MOST)
    held = [await bodies.receive(Sent([b"x" * MOST]), MOST) for _ in range(AT_ONCE)]
    with pytest.raises(RequestError) as error:
        await bodies.receive(Sent([b"y"]), 0)
    assert error.value.failure.kind == "overloaded"
    held.pop()
    assert (await bodies.receive(Sent([b"y"]), 0)).data == b"y"


async def test_one_that_does_not_come_is_given_up() -> None:
    with pytest.raises(RequestError) as error:
        await HeldBodies(MOST, patience=0.01).receive(Sent([b"x"], hangs=True), 10)
    assert error.value.failure.code == "body_timeout"


@pytest.mark.parametrize(
    ("path", "headers", "read"),
    [("/v1/chat/completions", {}, 0), ("/v1/chat/completions", {"Authorization": "Bearer no"}, 0),
     ("/v1/chat/completions", {"authorization": "Bearer sesame"}, 5),
     ("/v1/chat/completions", {"x-api-key": "sesame"}, 0),
     ("/v1/messages", {"x-api-key": "sesame"}, 5)],
)  # fmt: skip
async def test_who_has_no_key_sends_for_nothing(
    path: str, headers: dict[str, str], read: int
) -> None:
    door, sent = RayDoor.__new__(RayDoor), Sent([b"12345"])
    door._keys, door._bodies = Keys(["sesame"]), HeldBodies(MOST)
    body = await door._body(sent, path, CIMultiDict(headers))
    assert (sent.read, len(body.data)) == (read, read)


class Engines:
    """Serve's handle of the replicas, of which one answers."""

    def __init__(self) -> None:
        self.call = self
        self.asked: list[tuple[CallHead, bytes]] = []

    def remote(
        self, asked: bytes, body: bytes, so_far: bytes, **routing: Any
    ) -> AsyncIterator[AnswerPiece]:
        self.asked.append((asked_of(asked), body))

        async def answer() -> AsyncIterator[AnswerPiece]:
            yield "head", encode(AnswerHead(200, [("X-A", "1")], "one", True)), b""
            yield "piece", b"", b"hello"
            yield END

        return answer()


async def test_a_call_goes_to_a_replica_as_it_came_and_its_answer_back() -> None:
    door, engines = RayDoor.__new__(RayDoor), Engines()
    door._config, door._keys = DoorConfig(MOST, "salt"), Keys([])
    door._bodies, door._engines = HeldBodies(MOST), engines
    door._lost, door._full, door._away = (OSError,), EOFError, LookupError
    sent = Sent([b'{"messages"', b": []}"])
    raw = [(b"content-type", b"application/json"), (b"x-b", b"\xe9"), (b"x-b", b"2")]
    request = SimpleNamespace(
        method="POST",
        url=SimpleNamespace(path="/v1/chat/completions", query="a=1"),
        headers=SimpleNamespace(raw=raw),
        stream=sent.stream,
    )
    headers = headers_of(request)
    body = await door._body(request, request.url.path, headers)
    relay = await door._relay(request, request.url.path, headers, body)
    head, pieces = await relay.answer()
    assert (head.replica, b"".join([piece async for piece in pieces])) == ("one", b"hello")
    ((asked, data),) = engines.asked
    assert (asked.method, asked.target) == ("POST", "/v1/chat/completions?a=1")
    assert [(name.lower(), value) for name, value in asked.headers] == [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in raw
    ]
    assert data == b'{"messages": []}'
