import asyncio

import pytest

from thespis.actors.director import rounds
from thespis.actors.director.roster import Member, RestartBudget, Roster
from thespis.actors.director.rounds import Asker, StatsCollector
from thespis.protocol.edges.control import AskStats, Stats
from thespis.protocol.edges.view import RequestSeen, Seen
from thespis.protocol.wire import Message


class Bench:
    """A collector with ready members, and what it sent and answered."""

    def __init__(self, *roles: str) -> None:
        members = {role: Member(role, RestartBudget(1, 1.0)) for role in roles}
        for member in members.values():
            member.begin(0.0)
            member.state = "ready"
        self.roster = Roster(members)
        self.asked: list[str] = []
        self.answered: list[bytes] = []
        self.wanted: list[bool] = []
        self.watching: list[int | None] = []
        self.stats = StatsCollector(self.roster, self._send, self._answer)

    def _send(self, member: Member, message: Message) -> None:
        assert isinstance(message, AskStats)
        self.asked.append(member.role)
        self.wanted.append(message.seen)

    def _answer(self, asker: Asker) -> None:
        self.answered.append(asker.identity)
        self.watching.append(asker.watch)


async def test_an_answer_waits_for_the_counters_of_everybody() -> None:
    bench = Bench("a", "b")
    bench.stats.ask(b"x")
    assert bench.asked == ["a", "b"]
    bench.stats.heard(Stats("a", 1, {"n": 1.0}))
    assert bench.answered == []
    bench.stats.heard(Stats("b", 1, {"n": 2.0}))
    assert bench.answered == [b"x"]
    assert bench.roster.stats == {"a": {"n": 1.0}, "b": {"n": 2.0}}


async def test_counters_that_were_asked_for_before_do_not_answer_a_later_question() -> None:
    bench = Bench("a")
    bench.stats.ask(b"first")
    bench.stats.ask(b"second")
    bench.stats.heard(Stats("a", 1, {"n": 1.0}))
    assert bench.answered == [b"first"]
    bench.stats.heard(Stats("a", 1, {"n": 2.0}))
    assert bench.answered == [b"first", b"second"]


async def test_nobody_waits_for_the_dead_or_believes_them() -> None:
    bench = Bench("a")
    bench.stats.ask(b"x")
    bench.stats.heard(Stats("a", 0, {"n": 9.0}))
    assert "a" not in bench.roster.stats
    bench.stats.gone("a")
    assert bench.answered == [b"x"]


async def test_who_is_busy_is_answered_for_with_its_last_counters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "STATS_SECONDS", 0.01)
    bench = Bench("a")
    bench.stats.ask(b"x")
    while not bench.answered:
        await asyncio.sleep(0.005)
    assert bench.answered == [b"x"]


async def test_only_who_watches_has_everybody_tell_what_it_has_in_hand() -> None:
    bench, seen = Bench("a"), Seen((RequestSeen("r", 0, "client-x", 1.0, "queue"),))
    bench.stats.ask(b"x")
    bench.stats.heard(Stats("a", 1, {}))
    bench.stats.ask(b"y", watch=7)
    bench.stats.heard(Stats("a", 1, {}, seen))
    assert (bench.wanted, bench.watching) == ([False, True], [None, 7])
    assert bench.roster.seen == {"a": seen}
    bench.roster.forget("a")
    assert bench.roster.seen == {}
    assert bench.roster.stats == {}
