"""Blame needs proof."""

from thespis.actors.quarantine.records import KEPT_SECONDS, Banned, Proof, Quarantine


def test_two_crashes_alone_are_proof() -> None:
    quarantine = Quarantine()
    assert quarantine.died(3, ["a"], outside=False) is None
    assert quarantine.died(4, ["a"], outside=False) == Proof("a", (3, 4))
    assert not len(quarantine)


def test_proof_names_every_death_at_which_it_was_in_hand() -> None:
    quarantine = Quarantine()
    quarantine.died(1, ["a", "b"], outside=True)
    quarantine.passed("a")
    for epoch, in_hand in enumerate((["a", "b"], ["b"], ["a", "b"], ["a"]), start=2):
        assert quarantine.died(epoch, in_hand, outside=False) is None
    assert quarantine.died(6, ["a"], outside=False) == Proof("a", (2, 4, 5, 6))


def test_in_company_nobody_is_refused_and_who_was_there_twice_is_suspect() -> None:
    quarantine = Quarantine()
    assert quarantine.died(1, ["a", "b"], outside=False) is None
    assert quarantine.suspects == []
    assert quarantine.died(1, ["b", "c"], outside=False) is None
    assert quarantine.suspects == ["b"]
    for _ in range(5):
        assert quarantine.died(1, ["b"], outside=False, others=True) is None


def test_kills_from_outside_need_three_and_are_forgotten_when_it_gets_on() -> None:
    quarantine = Quarantine()
    for _ in range(20):
        assert quarantine.died(1, ["a"], outside=True) is None
        assert quarantine.died(1, ["a"], outside=True) is None
        quarantine.passed("a")
        assert quarantine.suspects == []
    assert [quarantine.died(n, ["a"], outside=True) for n in range(3)] == [
        None,
        None,
        Proof("a", (0, 1, 2)),
    ]


def test_who_got_past_the_place_and_crashes_again_runs_alone_to_its_end() -> None:
    quarantine = Quarantine()
    for _ in range(2):
        quarantine.died(1, ["a", "b"], outside=False)
    quarantine.passed("a")
    assert quarantine.suspects == ["b"]
    quarantine.passed("b")
    quarantine.died(1, ["a", "b"], outside=False)
    quarantine.passed("a")
    assert quarantine.suspects == ["a", "b"]
    quarantine.ended("a")
    assert quarantine.suspects == ["b"]


def test_suspects_that_nobody_wants_hold_nobody_up() -> None:
    quarantine = Quarantine()
    for _ in range(2):
        quarantine.died(1, ["a", "b"], outside=False)
    assert quarantine.first(lambda name: True) == "a"
    assert quarantine.first(lambda name: name == "b") == "b"
    assert quarantine.first(lambda name: False) is None


def test_a_refusal_is_kept_ten_minutes() -> None:
    banned = Banned()
    banned.add("x", now=100.0)
    assert banned.holds("x", 100.0 + KEPT_SECONDS - 1)
    assert not banned.holds("y", 100.0)
    assert not banned.holds("x", 100.0 + KEPT_SECONDS)
    assert not len(banned)
