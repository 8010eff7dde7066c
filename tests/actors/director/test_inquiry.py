import asyncio

import pytest

from thespis.actors.director import inquiry
from thespis.actors.director.inquiry import Inquiry
from thespis.actors.director.roster import Member, RestartBudget, Roster
from thespis.protocol.wire import Message


class Desk:
    """An inquiry with two ready members, and what it sent and answered."""

    def __init__(self) -> None:
        members = {role: Member(role, RestartBudget(1, 1.0)) for role in ("a", "b")}
        for member in members.values():
            member.begin(0.0)
            member.state = "ready"
        self.roster = Roster(members)
        self.asked: list[str] = []
        self.answered: list[bytes] = []
        self.inquiry = Inquiry(self.roster, self._send, self.answered.append)

    def _send(self, member: Member, message: Message) -> None:
        self.asked.append(member.role)


async def test_an_answer_waits_for_the_counters_of_everybody_but_the_asker() -> None:
    desk = Desk()
    desk.inquiry.ask(b"x", "client-x")
    assert desk.asked == ["a", "b"]
    desk.inquiry.heard("a", 1, {"n": 1.0})
    assert desk.answered == []
    desk.inquiry.heard("b", 1, {"n": 2.0})
    assert desk.answered == [b"x"]
    assert desk.roster.stats == {"a": {"n": 1.0}, "b": {"n": 2.0}}
    desk.inquiry.ask(b"a", "a")
    assert desk.asked[2:] == ["b"]


async def test_counters_that_were_asked_for_before_do_not_answer_a_later_question() -> None:
    desk = Desk()
    desk.inquiry.ask(b"first", "b")
    desk.inquiry.ask(b"second", "b")
    desk.inquiry.heard("a", 1, {"n": 1.0})
    assert desk.answered == [b"first"]
    desk.inquiry.heard("a", 1, {"n": 2.0})
    assert desk.answered == [b"first", b"second"]


async def test_nobody_waits_for_the_dead_or_believes_them() -> None:
    desk = Desk()
    desk.inquiry.ask(b"x", "b")
    desk.inquiry.heard("a", 0, {"n": 9.0})
    assert "a" not in desk.roster.stats
    desk.inquiry.gone("a")
    assert desk.answered == [b"x"]


async def test_who_is_busy_is_answered_for_with_its_last_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiry, "PATIENCE_SECONDS", 0.01)
    desk = Desk()
    desk.inquiry.ask(b"x", "b")
    while not desk.answered:
        await asyncio.sleep(0.005)
    assert desk.answered == [b"x"]
