"""What a simulated request is to its router, to its replica and to its caller."""

from thespis.scripts.simulation.__main__ import MEASURED, bounded
from thespis.scripts.simulation.asking import Ask, Picture
from thespis.scripts.simulation.bodies import likes_of
from thespis.scripts.simulation.compare import deviations, seen_of, simulated
from thespis.scripts.simulation.costs import deciding, keying, relaying, table_bytes
from thespis.scripts.simulation.real import Run, Sent
from thespis.scripts.simulation.times import read


def ask(id: str, pictures: tuple[str, ...] = (), head: str = "", head_tokens: int = 0) -> Ask:
    shown = tuple(Picture(key, 100.0, 4, 1000) for key in pictures)
    text = (*range(head_tokens), 7, 8, 9)
    return Ask(id, 1.0, text, shown, 5, head, head_tokens)


def test_the_door_sees_pictures_conversations_and_long_beginnings() -> None:
    one, other = likes_of(ask("r1", ("p1", "p2"), "h", 80)), likes_of(ask("r2", ("p2",), "h", 80))
    assert len(one.own) == 3
    assert set(one.own) & set(other.own) == {other.own[0]}  # of p2; what they say differs
    assert one.shared == other.shared != ""
    assert likes_of(ask("r3", head="h", head_tokens=20)).shared == ""  # too short to be worth it
    assert likes_of(ask("r4", head="i", head_tokens=80)).shared != one.shared


def test_a_shared_beginning_stands_before_pictures() -> None:
    prepared = ask("r1", ("p1", "p2"), "h", 6).prepared()
    assert prepared.token_ids[:6] == tuple(range(6))
    assert [item.spans[0].start for item in prepared.items] == [6, 10]
    assert prepared.token_ids[14:] == (7, 8, 9)


def test_a_caller_hears_nothing_twice_and_is_pleased_in_time() -> None:
    caller = ask("r1")
    caller.heard(0, (1, 2), 1.5)
    caller.heard(1, (2, 3), 2.0)  # of another replica, which went on behind what it was told
    caller.heard(3, (4, 5), 4.5)
    assert list(caller.got) == [1, 2, 3, 4, 5]
    assert list(caller.gaps) == [0.0, 0.5, 1.25, 1.25]
    assert not caller.pleased(2.0)  # not ended
    caller.ended = 4.5
    assert caller.pleased(2.0)
    assert not caller.pleased(1.2)
    assert not caller.pleased(0.4)


def test_costs_are_measured() -> None:
    seen = deciding(20, batches=3)
    assert min(seen.known, seen.new, seen.keyless, seen.update) > 0
    assert table_bytes(500) > 500 * 50
    assert keying(0, times=1) > 0
    assert relaying(20) > 0


def test_arrivals_of_a_real_run_are_answered_by_a_simulated_engine() -> None:
    sent = [
        Sent(0.1, (1, 2, 3), (), 4, tokens=20),
        Sent(0.2, (1, 2, 3), (56,), 8, rows=(9,), tokens=30),
    ]
    callers = simulated(bounded(read(MEASURED)), Run(sent, [], 1.0))
    assert [caller.tokens for caller in callers] == [4, 8]
    assert [len(caller.gaps) for caller in callers] == [3, 7]
    assert all(0 < caller.first < caller.last < 2 for caller in callers)
    seen = seen_of([callers])
    assert set(deviations(seen, seen).values()) == {0.0}
