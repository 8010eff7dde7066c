"""The shell of the asyncio actors: what is handled before what."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thespis.actors.actor import Actor
from thespis.actors.launch import Launch
from thespis.protocol.channel import Received
from thespis.protocol.edges.control import Gone

from ..helpers.inbox import FakeInbox


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
    """Both lie ready when the process gets its turn, or come while it handles what was there: a request sent anew must not go
    the way of the dead."""
    actor = Recorder(tmp_path)
    news: list[Gone] = []
    actor.link.receive = lambda: news.pop() if news else None  # type: ignore[method-assign]
    actor._unknown.keep = lambda received: False  # type: ignore[method-assign]
    incoming = SimpleNamespace(fence=lambda role, epoch: None, accept=lambda frames: Received("client-a", 0, "again"))
    inboxes: Any = SimpleNamespace(inbox=FakeInbox(before + 1, news, Gone("preprocessor", 1)), incoming=incoming)
    actor.inboxes = inboxes
    assert actor._drain_inbox() is False
    assert actor.heard == ["again"] * before + ["preprocessor is gone", "again"]
    actor.link.close()
    actor.context.term()
