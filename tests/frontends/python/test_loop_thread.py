"""What other threads hand to a loop is answered, whenever it ends."""

import asyncio
import threading

import pytest

from thespis import EngineError
from thespis.frontends.python.loop_thread import LoopThread


@pytest.fixture
def loop() -> LoopThread:
    return LoopThread("thespis-test")


def test_a_call_has_its_result(loop: LoopThread) -> None:
    assert loop.call(asyncio.sleep(0, "done")) == "done"
    loop.close()


@pytest.mark.filterwarnings("error")
def test_after_its_end_a_call_says_that_it_was_closed(loop: LoopThread) -> None:
    loop.close()
    with pytest.raises(EngineError, match="closed"):
        loop.call(asyncio.sleep(0))


def test_a_call_that_it_leaves_unfinished_is_told(loop: LoopThread) -> None:
    """It waited for ever: the loop stopped, and nobody ended its future."""
    begun, told = threading.Event(), []

    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    def caller() -> None:
        with pytest.raises(EngineError, match="closed"):
            loop.call(endless())
        told.append(True)

    thread = threading.Thread(target=caller, daemon=True)
    thread.start()
    assert begun.wait(10)
    loop.close()
    thread.join(10)
    assert told == [True]


async def test_it_is_closed_beside_a_loop_that_runs(loop: LoopThread) -> None:
    """As a notebook has."""
    loop.close()
    with pytest.raises(EngineError, match="closed"):
        loop.call(asyncio.sleep(0))


def test_one_that_takes_too_long_is_given_up(loop: LoopThread) -> None:
    with pytest.raises(TimeoutError):
        loop.call(asyncio.Event().wait(), 0.01)
    loop.close()
