"""A dict that forgets what was set or used the longest ago."""

from thespis.protocol.bounded import Bounded


def test_the_oldest_goes_first() -> None:
    known: Bounded[str, int] = Bounded(2)
    for number, name in enumerate("abc"):
        known[name] = number
    assert list(known.items()) == [("b", 1), ("c", 2)]
    known["b"] = 5  # set again, it is the youngest
    known["d"] = 6
    assert list(known.items()) == [("b", 5), ("d", 6)]


def test_what_is_used_stays() -> None:
    known: Bounded[str, int] = Bounded(2)
    known["a"], known["b"] = 1, 2
    assert known.use("a") == 1
    assert known.use("z") is None
    assert known.get("b") == 2  # which only looks
    known["c"] = 3
    assert list(known) == ["a", "c"]
    known.clear()
    assert not known
