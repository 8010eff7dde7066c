"""Bodies whose bytes go elsewhere count as held all the same."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from thespis.frontends.openai.bodies.receiving import Bodies
from thespis.frontends.openai.bodies.scan import Structure
from thespis.protocol.errors import RequestError

MOST, ALL = 100, 150


class Call(dict[Any, Any]):
    """What `Bodies` asks of a request: one that announces `length` bytes and sends `chunks`."""

    def __init__(self, length: int | None, *chunks: bytes) -> None:
        super().__init__()
        self.content_length = length
        self.headers: dict[str, str] = {}
        self._chunks = [*chunks, b""]
        self.content = SimpleNamespace(readany=self._next)

    async def _next(self) -> bytes:
        return self._chunks.pop(0)


def bodies() -> Bodies:
    return Bodies(MOST, ALL, Structure(8, 1000))


async def received(bodies: Bodies, call: Any) -> bytes:
    async with bodies.counted(call) as pieces:
        return b"".join([piece async for piece in pieces])


def code_of(refused: pytest.ExceptionInfo[RequestError]) -> str | None:
    return refused.value.failure.code


async def test_all_of_it_comes_and_nothing_stays_held() -> None:
    one = bodies()
    for length in (60, 0, None):
        assert await received(one, Call(length, b"a" * 20, b"b" * 40)) == b"a" * 20 + b"b" * 40
    async with one.counted(Call(ALL - 50)), one.counted(Call(50)):  # type: ignore[arg-type]
        pass


async def test_one_that_is_too_large_is_refused_by_its_head_or_as_it_comes() -> None:
    for call in (Call(MOST + 1), Call(None, b"a" * MOST, b"b"), Call(1, b"a" * (MOST + 1))):
        one = bodies()
        with pytest.raises(RequestError, match="larger") as refused:
            await received(one, call)
        assert code_of(refused) == "body_too_large"
        assert await received(one, Call(MOST, b"a" * MOST)) == b"a" * MOST


async def test_all_together_are_bounded_whatever_they_announce() -> None:
    for late in (Call(60), Call(None, b"a" * 60)):
        one = bodies()
        async with one.counted(Call(MOST)):  # type: ignore[arg-type]
            with pytest.raises(RequestError) as refused:
                await received(one, late)
            assert code_of(refused) == "overloaded"
        assert await received(one, Call(60, b"a" * 60)) == b"a" * 60


async def test_a_reader_that_is_cancelled_gives_back_what_it_held() -> None:
    one = bodies()

    async def stuck() -> None:
        async with one.counted(Call(MOST)):  # type: ignore[arg-type]
            await asyncio.Event().wait()

    task = asyncio.create_task(stuck())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await received(one, Call(MOST, b"a" * MOST)) == b"a" * MOST
