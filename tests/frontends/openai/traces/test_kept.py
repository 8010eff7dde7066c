"""The last calls, each for its own tenant."""

from thespis.frontends.openai.traces.kept import Kept

from .calls import CALL, call


def test_nobody_finds_anothers() -> None:
    kept = Kept()
    kept.add(CALL)
    assert kept.get("alice", "mine") is CALL
    assert kept.get("bob", "mine") is None
    assert kept.get("alice", "other") is None


def test_the_oldest_give_way_in_number_and_in_weight() -> None:
    kept = Kept(calls=3, weight=3 * CALL.weight)
    for number in range(5):
        kept.add(call(id=str(number)))
    assert [kept.get("alice", str(number)) is not None for number in range(5)] == (
        [False, False, True, True, True]
    )
    kept.add(call(id="heavy", timings=CALL.timings * 3))
    assert kept.get("alice", "heavy") is not None
    assert len(kept) == 1


def test_an_id_that_comes_again_is_the_newer_call() -> None:
    kept = Kept()
    for tokens in range(3):
        kept.add(call(completion_tokens=tokens))
    assert len(kept) == 1
    found = kept.get("alice", "mine")
    assert found is not None
    assert found.completion_tokens == 2
