"""Calls are told in a thread of their own, before which few wait."""

import logging
import threading

import pytest

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
