"""The shell of the asyncio actors: what is handled before what."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import zmq

from thespis.actors.kernel import base, participant
from thespis.actors.kernel.actor import Actor
from thespis.actors.kernel.launch import Launch
from thespis.actors.kernel.pump import Pump
from thespis.protocol.channel import Received, bind_inbox
from thespis.protocol.edges.control import AskStats, Fatal, Gone, Stats

from ...helpers.inbox import FakeInbox, FakeLink


class Recorder(Actor):
    def __init__(self, run_dir: Path) -> None:
        super().__init__(Launch("fetcher", 1, str(run_dir), ""))
        self.heard: list[str] = []

    def on_message(self, sender: str, message: Any) -> None:
        self.heard.append(message)

    def on_gone(self, gone: Gone) -> None:
        self.heard.append(f"{gone.role} is gone")


@pytest.mark.parametrize("before", [0, 1])
def test_a_death_is_heard_before_what_was_sent_because_of_it(tmp_path: Path, before: int) -> None:
    """Both lie ready when the process gets its turn, or come while it handles what was there: a
    request sent anew must not go the way of the dead."""
    actor = Recorder(tmp_path)
    news: list[Gone] = []
    actor._unknown.keep = lambda received: False  # type: ignore[method-assign]
    incoming = SimpleNamespace(
        fence=lambda role, epoch: None, accept=lambda frames: Received("client-a", 0, "again")
    )
    actor.incoming = cast(Any, incoming)
    actor._news.socket = cast(Any, FakeLink(news))
    inbox: Any = FakeInbox(before + 1, news, Gone("preprocessor", 1))
    Pump(inbox, actor.hear, first=actor._news).drain()
    assert actor.heard == ["again"] * before + ["preprocessor is gone", "again"]
    actor.link.close()
    actor.context.term()


def test_what_is_due_when_it_ends_is_not_done(tmp_path: Path) -> None:
    """Timers outlive the sockets that they would send by, and a state that may be wrong."""
    actor = Recorder(tmp_path)
    done: list[str] = []
    actor._guard(lambda: done.append("before"))
    actor.stop()
    actor._guard(lambda: done.append("after"))
    assert done == ["before"]
    actor.link.close()
    actor.context.term()


def test_what_was_dropped_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actor = Recorder(tmp_path)
    actor.open_inbox()
    told: list[Any] = []
    monkeypatch.setattr(actor.link, "send", told.append)
    actor.hear([b"nobody.1", b"no header", b""])
    assert actor.hear_director(AskStats())
    assert told == [Stats("fetcher", 1, {"messages_dropped": 1.0})]
    assert actor.heard == []
    actor.close()


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EMFILE, errno.EROFS, errno.EDQUOT, errno.EACCES]
)
@pytest.mark.parametrize("first_bound", [True, False])
def test_where_the_run_directory_takes_no_socket_the_director_is_told_once_and_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, first_bound: bool
) -> None:
    """A full file system must not cost one successor after the other, and with them the engine."""
    results = [True, False] * 3 if first_bound else [False] * 3

    def bind(context: "zmq.Context[Any]", endpoint: str) -> "zmq.Socket[bytes]":
        if results and not results.pop(0):
            raise zmq.ZMQError(number, endpoint)
        return bind_inbox(context, endpoint.replace(".1.", f".{len(results)}."))

    for module in (base, participant):
        monkeypatch.setattr(module, "bind_inbox", bind)
    monkeypatch.setattr(base, "RETRY_SECONDS", 0.0)
    actor = Recorder(tmp_path)
    told: list[Any] = []
    monkeypatch.setattr(actor.link, "send", told.append)
    actor._open_when_possible()
    actor.control.close()
    actor.inbox.close()
    assert [type(message) for message in told] == [Fatal]
    assert os.strerror(number) in told[0].text
    assert str(tmp_path) not in told[0].text
    actor.link.close()
    actor.context.term()


def test_a_socket_that_cannot_be_bound_is_not_left_open(tmp_path: Path) -> None:
    context: zmq.Context[Any] = zmq.Context()
    with pytest.raises(zmq.ZMQError):
        bind_inbox(context, f"ipc://{tmp_path}/nowhere/a.sock")
    context.term()
