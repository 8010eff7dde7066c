"""When the actors are told that a request is over."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from thespis.frontends.client import dispatcher
from thespis.frontends.client.dispatcher import Dispatcher
from thespis.frontends.client.ledger import Ledger, LedgerEntry
from thespis.protocol.edges.shared import RequestFailed
from thespis.protocol.errors import Failure
from thespis.protocol.requests.request import Request, TextPrompt
from thespis.protocol.requests.sampling import SamplingParams

FAILURE = Failure("invalid_request", "No.")


def nothing(*_: object) -> None:
    pass


class Scene:
    def __init__(self, *ids: str) -> None:
        self.told: list[tuple[str, ...]] = []
        ledger, connection = Ledger(), SimpleNamespace(end=self.told.append)
        others: Any = [
            SimpleNamespace(ended=nothing),
            SimpleNamespace(on_answer=nothing),
            SimpleNamespace(give=nothing, closed=False),
            SimpleNamespace(drop_bytes=nothing),
        ]
        delivery, *rest = others
        self.dispatcher = Dispatcher(cast(Any, connection), ledger, delivery, *rest)
        self.entries = [entry(id) for id in ids]
        for one in self.entries:
            ledger.add(one)


def entry(id: str) -> LedgerEntry:
    request = Request(
        id=id, client="c", arrival=0.0, prompt=TextPrompt(""), sampling=SamplingParams()
    )
    stream: Any = SimpleNamespace(fail=nothing)
    return LedgerEntry(request, stream, cast(Any, None), (), [])


async def test_ends_that_the_actors_have_told_of_themselves_are_told_together(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr(dispatcher, "END_SECONDS", 0.05)
    scene = Scene("a", "b")
    for id in ("a", "b"):
        scene.dispatcher.hear(RequestFailed(id, 0, FAILURE))
        await asyncio.sleep(0)
    assert scene.told == []
    await asyncio.sleep(0.2)
    assert scene.told == [("a", "b")]


async def test_what_they_may_be_working_on_ends_at_once_with_all_that_waits() -> None:
    scene = Scene("a", "b", "c")
    scene.dispatcher.hear(RequestFailed("a", 0, FAILURE))
    for one in scene.entries[1:]:
        scene.dispatcher.end(one, FAILURE)
    await asyncio.sleep(0)
    assert scene.told == [("a", "b", "c")]
