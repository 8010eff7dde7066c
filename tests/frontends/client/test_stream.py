"""The reply slot: merging, replay cuts, ends."""

import asyncio

import pytest

from thespis.frontends.client.stream import Stream
from thespis.protocol.edges.detokenizer_to_client import Delta, Finished
from thespis.protocol.edges.scheduler_to_detokenizer import Usage
from thespis.protocol.errors import Failure, RequestError

FINISHED = Finished("r", 0, Usage(3, 0, {}, 0), 2, ())


def make() -> tuple[Stream, list[str]]:
    cancelled: list[str] = []

    async def cancel(id: str) -> None:
        cancelled.append(id)

    return Stream("r", cancel), cancelled


def delta(position: int, offset: int, tokens: tuple[int, ...], text: str, choice: int = 0) -> Delta:
    return Delta("r", 0, choice, position, offset, tokens, text)


async def test_a_slow_reader_gets_one_merged_update() -> None:
    stream, _ = make()
    stream.push(delta(0, 0, (1,), "a"))
    stream.push(delta(1, 1, (2,), "b"))
    stream.finish(FINISHED)
    updates = [update async for update in stream]
    assert [(u.choices[0].text, u.choices[0].token_ids) for u in updates] == [("ab", [1, 2])]
    assert updates[0].finished is FINISHED


async def test_choices_are_kept_apart() -> None:
    stream, _ = make()
    stream.push(delta(0, 0, (1,), "a", choice=1))
    stream.push(delta(0, 0, (2,), "b", choice=0))
    update = await anext(stream)
    assert {c.index: c.text for c in update.choices} == {1: "a", 0: "b"}


async def test_what_came_before_a_failure_is_delivered_first() -> None:
    stream, _ = make()
    stream.push(delta(0, 0, (1,), "a"))
    stream.fail(Failure("restarted", "gone"))
    assert (await anext(stream)).choices[0].text == "a"
    with pytest.raises(RequestError) as caught:
        await anext(stream)
    assert caught.value.status == 503


async def test_leaving_early_cancels() -> None:
    stream, cancelled = make()
    async with stream:
        stream.push(delta(0, 0, (1,), "a"))
        await anext(stream)
    assert cancelled == ["r"]


async def test_a_finished_stream_is_not_cancelled() -> None:
    stream, cancelled = make()
    async with stream:
        stream.finish(FINISHED)
    assert cancelled == []


async def test_a_reader_waits_until_something_comes() -> None:
    stream, _ = make()
    reader = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    assert not reader.done()
    stream.push(delta(0, 0, (1,), "a"))
    assert (await reader).choices[0].text == "a"


async def test_a_reader_that_gives_up_loses_nothing() -> None:
    """Before something comes, and in the turn of the loop in which it does."""
    stream, _ = make()
    for position, text in enumerate("ab"):
        reader = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        if position:
            stream.push(delta(position, position, (2,), text))
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        if not position:
            stream.push(delta(position, position, (1,), text))
            assert (await asyncio.wait_for(anext(stream), 5)).choices[0].text == "a"
    assert (await asyncio.wait_for(anext(stream), 5)).choices[0].text == "b"
