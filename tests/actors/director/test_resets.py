"""Who is told to empty a cache, and when its asker hears: once, whatever dies or hangs."""

import asyncio

import pytest

from thespis.actors.director import rounds
from thespis.actors.director.roster import Member, RestartBudget, Roster
from thespis.actors.director.rounds import HELD_BY, Resets
from thespis.protocol.edges.control import AskReset, Cache, Reset, ResetOver
from thespis.protocol.wire import Message

ROLES = ("preprocessor", "encoder-cache", "scheduler", "gpu-runner")


class Bench:
    """Members that are all ready, what they were told, and what askers heard."""

    def __init__(self, roles: tuple[str, ...] = ROLES) -> None:
        self.members = {role: Member(role, RestartBudget(1, 1.0)) for role in roles}
        for member in self.members.values():
            member.begin(0.0)
            member.state = "ready"
        self.told: list[tuple[str, int]] = []
        self.heard: list[tuple[bytes, Message]] = []
        self.resets = Resets(
            Roster(self.members), self._send, lambda who, message: self.heard.append((who, message))
        )

    def _send(self, member: Member, message: Message) -> None:
        assert isinstance(message, Reset)
        self.told.append((member.role, message.number))

    def ask(self, cache: Cache, number: int = 7) -> None:
        self.resets.ask(b"x", AskReset(number, cache))


@pytest.mark.parametrize("cache", list(HELD_BY))
async def test_B14_an_asker_hears_when_every_part_is_empty(cache: Cache) -> None:
    bench = Bench()
    bench.ask(cache)
    assert [role for role, _ in bench.told] == list(HELD_BY[cache])
    for role, number in bench.told:
        assert bench.heard == []
        bench.resets.answered("gpu-runner", number)
        bench.resets.answered(role, number + 1)
        bench.resets.answered(role, number)
        bench.resets.answered(role, number)
    assert bench.heard == [(b"x", ResetOver(7, True))]


async def test_B14_who_dies_has_emptied_its_part() -> None:
    bench = Bench()
    bench.ask("media")
    bench.resets.answered("preprocessor", 1)
    bench.resets.gone("scheduler")
    assert bench.heard == []
    bench.resets.gone("encoder-cache")
    assert bench.heard == [(b"x", ResetOver(7, True))]


async def test_B14_who_is_not_there_has_nothing() -> None:
    bench = Bench()
    bench.members["scheduler"].state = "starting"
    bench.ask("prefix")
    assert (bench.told, bench.heard) == ([], [(b"x", ResetOver(7, True))])
    text_only = Bench(("preprocessor", "scheduler"))
    text_only.ask("media")
    assert text_only.told == [("preprocessor", 1)]


async def test_a_preprocessor_that_comes_after_a_reset_is_told_of_the_last_one() -> None:
    bench = Bench()
    for role in ROLES:
        bench.resets.ready(bench.members[role])
    bench.ask("prefix")
    bench.resets.ready(bench.members["preprocessor"])
    assert [role for role, _ in bench.told] == ["scheduler"]
    bench.ask("media")
    bench.ask("media")
    bench.ask("prefix")
    bench.told.clear()
    for role in ROLES:
        bench.resets.ready(bench.members[role])
    assert bench.told == [("preprocessor", 3)]
    bench.resets.answered("preprocessor", 3)


async def test_B14_two_askers_hear_of_their_own_question() -> None:
    bench = Bench()
    bench.ask("prefix", 1)
    bench.resets.ask(b"y", AskReset(1, "prefix"))
    bench.resets.answered("scheduler", 2)
    assert bench.heard == [(b"y", ResetOver(1, True))]
    bench.resets.answered("scheduler", 1)
    assert bench.heard[1:] == [(b"x", ResetOver(1, True))]


async def test_B14_who_does_not_answer_in_time_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "RESET_SECONDS", 0.01)
    bench = Bench()
    bench.ask("prefix")
    while not bench.heard:
        await asyncio.sleep(0.001)
    bench.resets.answered("scheduler", 1)
    assert bench.heard == [(b"x", ResetOver(7, False))]
