"""Calls are told in a thread of their own, before which few wait."""

import logging
import threading
import time

import pytest

from thespis.frontends.openai.traces import telling
from thespis.frontends.openai.traces.call import EndedCall
from thespis.frontends.openai.traces.telling import WAITING, Teller

from .calls import CALL, call


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "TOGETHER_SECONDS", 0.0)


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


def test_those_that_come_soon_after_are_told_with_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telling, "TOGETHER_SECONDS", 60.0)
    held = Holding()
    held.go_on.set()
    teller = Teller((lambda: held,))
    for number in range(5):
        teller.tell(call(id=str(number)))
    assert not held.begun.wait(0.2)
    teller.close()  # which waits for none
    assert [one.id for one in held.told] == list("01234")


def test_many_wait_for_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the next ones find a place."""
    monkeypatch.setattr(telling, "TOGETHER_SECONDS", 60.0)
    held = Holding()
    held.go_on.set()
    teller = Teller((lambda: held,))
    for _ in range(WAITING // 2 + 1):
        teller.tell(CALL)
    assert held.begun.wait(10)
    teller.close()
    assert (len(held.told), teller.dropped) == (WAITING // 2 + 1, 0)


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
