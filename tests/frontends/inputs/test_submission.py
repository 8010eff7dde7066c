"""The requests of one call end together."""

import asyncio
from functools import partial

import pytest

from thespis.frontends.client.stream import Stream
from thespis.frontends.inputs.submission import RequestGroup
from thespis.protocol.errors import RequestError, refuse


class Engine:
    """Which requests were cancelled."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    def stream(self, id: str) -> Stream:
        return Stream(id, self._cancel)

    async def _cancel(self, id: str) -> None:
        self.cancelled.append(id)


async def never() -> None:
    await asyncio.Event().wait()


async def test_all_are_waited_for() -> None:
    engine, done = Engine(), asyncio.Event()

    async def read(id: str) -> str:
        await done.wait()
        return id

    async with RequestGroup() as group:
        tasks = [group.read(engine.stream(id), partial(read, id)) for id in "ab"]
        done.set()
    assert [task.result() for task in tasks] == ["a", "b"]
    assert engine.cancelled == []


async def test_the_first_error_ends_the_others() -> None:
    engine = Engine()

    async def fail() -> None:
        raise refuse("overloaded", "no room")

    async def call() -> None:
        async with RequestGroup() as group:
            group.read(engine.stream("a"), never)
            group.read(engine.stream("b"), fail)

    with pytest.raises(RequestError, match="no room"):
        await call()
    assert sorted(engine.cancelled) == ["a", "b"]


async def test_a_refusal_in_the_block_ends_those_that_never_ran() -> None:
    engine = Engine()

    async def call() -> None:
        async with RequestGroup() as group:
            group.read(engine.stream("a"), never)
            raise refuse("invalid_request", "too long")

    with pytest.raises(RequestError, match="too long"):
        await call()
    assert engine.cancelled == ["a"]


async def test_who_is_cancelled_cancels_them() -> None:
    engine = Engine()

    async def call() -> None:
        async with RequestGroup() as group:
            group.read(engine.stream("a"), never)

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.cancelled == ["a"]
