"""What other threads hand to a loop is answered, whenever it ends."""

import asyncio
import concurrent.futures
import os
import threading
from typing import Any

import pytest

from thespis import EngineError
from thespis.frontends.python import llm
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


def test_it_may_be_closed_by_several_and_again(loop: LoopThread) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for closed in [pool.submit(loop.close) for _ in range(8)]:
            closed.result(10)
    loop.close()


async def _in(loop: LoopThread, act: Any) -> Any:
    return act(loop)


def test_its_own_thread_closes_it_and_does_not_wait_for_itself(loop: LoopThread) -> None:
    loop.call(_in(loop, LoopThread.close), 10)
    with pytest.raises(EngineError, match="closed"):
        loop.call(asyncio.sleep(0), 10)


@pytest.mark.filterwarnings("error")
def test_a_call_by_its_own_thread_is_refused(loop: LoopThread) -> None:
    """It would wait for itself, for ever."""
    with pytest.raises(EngineError, match="call it from another"):
        loop.call(_in(loop, lambda one: one.call(asyncio.sleep(0))), 10)
    loop.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_work_that_ends_the_interpreter_leaves_nobody_waiting(loop: LoopThread) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        beside = pool.submit(loop.call, asyncio.Event().wait(), 10)
        with pytest.raises(SystemExit):
            loop.call(leave(), 10)
        with pytest.raises(EngineError, match="closed"):
            beside.result(20)
    with pytest.raises(EngineError, match="closed"):
        loop.call(asyncio.sleep(0), 10)
    loop.close()


def test_work_that_was_cancelled_is_not_told_as_an_end(loop: LoopThread) -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(concurrent.futures.CancelledError):
        loop.call(cancelled(), 10)
    assert loop.call(asyncio.sleep(0, "done"), 10) == "done"
    loop.close()


@pytest.mark.filterwarnings("error")
def test_a_fork_of_its_process_is_told(loop: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread is not there: what was handed over would wait for ever."""
    owner = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: owner + 1)
    with pytest.raises(EngineError, match="fork"):
        loop.call(asyncio.sleep(0), 10)
    loop.close()
    llm._shut(None, Part(), loop)  # type: ignore[arg-type]
    monkeypatch.undo()
    assert loop.call(asyncio.sleep(0, "done"), 10) == "done"
    loop.close()


class Part:
    """The client and the engine of an LLM."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.left, self.ended = threading.Event(), threading.Event()

    async def close(self) -> None:
        self.left.set()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        self.ended.set()


def test_an_llm_that_is_collected_in_its_own_thread_ends(loop: LoopThread) -> None:
    """As one of a cycle of objects is, wherever Python looks for those: it waited for itself, and
    its engine ran on."""
    part: Any = Part()
    loop.call(_in(loop, lambda one: llm._shut(part, part, one)), 10)
    assert part.left.wait(10)
    assert part.ended.wait(10)
    with pytest.raises(EngineError, match="closed"):
        loop.call(asyncio.sleep(0), 10)


def test_an_engine_ends_although_its_client_does_not_leave_in_order(loop: LoopThread) -> None:
    part: Any = Part(TimeoutError())
    with pytest.raises(TimeoutError):
        llm._shut(part, part, loop)
    assert part.ended.is_set()
    with pytest.raises(EngineError, match="closed"):
        loop.call(asyncio.sleep(0), 10)
