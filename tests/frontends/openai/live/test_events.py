"""Deaths and returns, and whether the streams that a death met have gone on."""

from thespis.frontends.openai.live.events import SHOWN, SOON_SECONDS, Events
from thespis.frontends.openai.live.shapes import RecoveryShape
from thespis.protocol.edges.view import Happening

DEATH = Happening(10.0, "gpu-runner", 1, "ended", "signal 9: Killed")
RETURN = Happening(11.5, "gpu-runner", 2, "ready")


def test_streams_are_followed_past_a_death() -> None:
    events = Events(lambda time: time + 1000)
    assert events.look((), {"a": 1, "b": 2, "c": 3}, 9.0) == []
    before = {"a": 5, "b": 6, "c": 7}
    (death,) = events.look((DEATH,), before, 10.1)
    assert (death.when, death.why) == (1010.0, "signal 9: Killed")
    assert death.streams == RecoveryShape(3)
    assert events.waiting
    # what was still on its way from the dead does not count
    events.look((DEATH,), {**before, "a": 6}, 10.5)
    back, death = events.look((DEATH, RETURN), {**before, "a": 7}, 11.6)
    assert (back.what, back.epoch, back.after, back.when) == ("ready", 2, 1.5, 1011.5)
    assert death.streams == RecoveryShape(3, went_on=1)
    events.ended("b", well=True)
    events.ended("c", well=False)
    _, death = events.look((DEATH, RETURN), {"a": 9}, 12.0)
    assert death.streams == RecoveryShape(3, went_on=2, failed=1, seconds=2.0)
    assert not events.waiting


def test_nobody_is_followed_past_a_death_that_was_before_the_watch() -> None:
    events = Events(lambda time: time + 1000)
    events.look((DEATH,), {"a": 5}, 20.0)
    (death,) = events.look((DEATH,), {"a": 6}, 21.0)
    assert (death.streams, events.waiting) == (None, False)


def test_who_waits_for_long_is_not_watched_closely_for_ever() -> None:
    events = Events(lambda time: time + 1000)
    events.look((), {"a": 5}, 9.0)
    events.look((DEATH,), {"a": 5}, 10.1)
    assert events.waiting
    events.look((DEATH, RETURN), {"a": 5}, 10.0 + SOON_SECONDS)
    assert not events.waiting


def test_what_is_remembered_goes_with_its_death() -> None:
    events = Events(lambda time: time + 1000)
    events.look((), {"a": 5}, 9.0)
    for number in range(1000):
        last = [
            Happening(10.0 + n, "scheduler", n, "ended") for n in range(number, number + SHOWN + 9)
        ]
        shown = events.look(last, {f"r{number}": 1}, 10.0 + number)
    assert len(shown) == SHOWN
    assert len(events._caught) <= SHOWN + 9
