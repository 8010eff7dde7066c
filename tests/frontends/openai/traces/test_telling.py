"""Calls are told in a thread of their own, before which few wait."""

import logging
import threading
import time

import pytest

from thespis.frontends.openai.traces import telling
from thespis.frontends.openai.traces.call import EndedCall
from thespis.frontends.openai.traces.telling import WAITING, Teller

from .calls import CALL, call


class Holding:
    """Stops at its first call until it is let go on."""

    def __init__(self) -> None:
        self.told: list[EndedCall] = []
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.closed = False

    def tell(self, call: EndedCall) -> None:
        self.begun.set()
        self.go_on.wait(10)
        self.told.append(call)

    def close(self) -> None:
        self.closed = True


class Failing(Holding):
    def tell(self, call: EndedCall) -> None:
        raise OSError("no space")


def test_who_tells_never_waits_and_what_is_too_much_is_dropped() -> None:
    held = Holding()
    teller = Teller((lambda: held,))
    teller.tell(CALL)
    assert held.begun.wait(10)
    for number in range(WAITING + 7):
        teller.tell(call(id=str(number)))
    assert teller.dropped == 7
    held.go_on.set()
    teller.close()
    assert len(held.told) == 1 + WAITING
    assert held.closed


@pytest.mark.parametrize("waiting", [1, WAITING + 7])
def test_one_that_never_ends_holds_up_no_end(
    waiting: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telling, "CLOSE_SECONDS", 0.2)
    held = Holding()
    teller = Teller((lambda: held,))
    teller.tell(CALL)
    assert held.begun.wait(10)
    for _ in range(waiting):
        teller.tell(CALL)
    began = time.monotonic()
    teller.close()
    assert 0.15 < time.monotonic() - began < 2
    held.go_on.set()
    teller.close()
    assert held.closed
    dropped = "traces of 7 calls were dropped" in caplog.text
    assert dropped == (waiting > WAITING)


def test_an_end_has_one_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a place before the thread, and for its end, together."""
    monkeypatch.setattr(telling, "CLOSE_SECONDS", 1.0)
    held = Holding()
    teller = Teller((lambda: held,))
    teller.tell(CALL)
    assert held.begun.wait(10)
    for _ in range(WAITING):
        teller.tell(CALL)
    free = threading.Timer(0.6, teller._queue.get)  # a place, and it is stuck all the same
    free.start()
    began = time.monotonic()
    teller.close()
    assert 0.9 < time.monotonic() - began < 1.4
    held.go_on.set()
    free.join()
    teller._thread.join(10)
    assert held.closed


def test_one_that_fails_costs_one_line_and_not_the_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing, other = Failing(), Holding()
    other.go_on.set()
    with caplog.at_level(logging.WARNING):
        teller = Teller((lambda: failing, lambda: other))
        for _ in range(3):
            teller.tell(CALL)
        teller.close()
    assert len(other.told) == 3
    assert [record.getMessage() for record in caplog.records] == ["traces are lost: OSError"]
