"""The loop over sockets: what has come is read, whatever else is done with the socket."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from thespis.actors.kernel import pump
from thespis.actors.kernel.launch import director_endpoint
from thespis.actors.kernel.link import DirectorLink
from thespis.actors.kernel.pump import Pump
from thespis.protocol.channel import bind_inbox
from thespis.protocol.edges.control import Gone, Heartbeat
from thespis.protocol.wire import encode


class Line:
    """A link to a director that is played by the test, and the pump that reads it."""

    def __init__(self, run_dir: Path) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._director = bind_inbox(self._context, director_endpoint(run_dir))
        self.link = DirectorLink(self._context, str(run_dir), "fetcher", 1)
        self.heard: list[int] = []
        self.pump = Pump(self.link.socket, self._hear)
        self.link.sent = self.pump.soon
        self.link.send(Heartbeat("fetcher", 1))
        self._identity = self._director.recv_multipart()[0]

    def _hear(self, frames: list[bytes]) -> None:
        self.heard.append(self.link.decode(frames).epoch)

    def say(self, *epochs: int) -> None:
        for epoch in epochs:
            self._director.send_multipart([self._identity, encode(Gone("scheduler", epoch))])

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.heard) < count:
                await asyncio.sleep(0.005)

    def close(self) -> None:
        self.pump.close()
        self._context.destroy(linger=0)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path)
    yield line
    line.close()


async def test_what_came_before_a_send_is_heard(line: Line) -> None:
    """The send swallows what would have woken the loop."""
    line.pump.open()
    await asyncio.sleep(0.01)
    line.say(7)
    assert line.link.socket.poll(10_000)
    line.link.send(Heartbeat("fetcher", 1))
    await line.until(1)
    assert line.heard == [7]


async def test_a_turn_ends_so_that_others_get_theirs_and_nothing_is_left(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "AT_ONCE", 2)
    line.say(*range(5))
    assert line.link.socket.poll(10_000)
    line.pump.open()
    await asyncio.sleep(0)
    assert len(line.heard) <= 2
    await line.until(5)
    assert line.heard == list(range(5))


async def test_after_its_end_it_touches_no_socket(line: Line) -> None:
    """The end may come in the middle of a turn, by a message, and with more of them waiting."""

    def end(frames: list[bytes]) -> None:
        line.heard.append(0)
        line.pump.close()
        line.pump.soon()
        line.pump.drain()

    line.pump = Pump(line.link.socket, end)
    line.say(1, 2, 3)
    assert line.link.socket.poll(10_000)
    line.pump.open()
    await asyncio.sleep(0.05)
    assert line.heard == [0]


async def test_what_follows_a_message_whose_handler_raises_is_read(line: Line) -> None:
    """It was never: a socket that was not read to its end says nothing of what comes later."""
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: raised.append(what))

    def fail(frames: list[bytes]) -> None:
        line._hear(frames)
        if line.heard[-1] == 1:
            line.say(*range(2, 6))
            assert line.link.socket.poll(10_000)
            raise ValueError

    line.pump = Pump(line.link.socket, fail)
    line.pump.open()
    await asyncio.sleep(0.01)
    line.say(1)
    await line.until(5)
    assert line.heard == [1, 2, 3, 4, 5]
    assert len(raised) == 1
