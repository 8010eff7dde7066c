"""The ledger: what was delivered, who is caught by a death, when blobs are free."""

from typing import Any

import pytest

from thespis.frontends.client.admission import Cost
from thespis.frontends.client.ledger import Hole, Ledger, LedgerEntry, Progress, blobs_of
from thespis.frontends.client.stream import Stream
from thespis.protocol.edges.client_to_scheduler import ChoiceSoFar
from thespis.protocol.edges.detokenizer_to_client import Delta
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.prepared import Prepared
from thespis.protocol.requests.request import Encoded, MediaItem, Request, TextPrompt, Url
from thespis.protocol.requests.sampling import SamplingParams

BLOB = BlobRef("segment", 0, "uint8", (3,))
PREPARED = Prepared(
    id="r", attempt=0, client="c", tenant="", arrival=0.0, priority=0,
    token_ids=(1,), items=(), positions=None,
    sampling=SamplingParams(), eos_token_ids=(),
)  # fmt: skip


def make(source: Any = None, prepared: bool = False) -> LedgerEntry:
    async def cancel(id: str) -> None: ...

    media = () if source is None else (MediaItem("image", source, "here"),)
    request = Request(
        id="r",
        client="c",
        arrival=0.0,
        prompt=TextPrompt("p"),
        media=media,
        sampling=SamplingParams(n=2),
    )
    entry = LedgerEntry(
        request, Stream("r", cancel), Cost(1, 1, 1), blobs_of(request), [Progress(), Progress()]
    )
    entry.stream.prepared, entry.awaited = (PREPARED, False) if prepared else (None, True)
    return entry


def delta(
    position: int, offset: int, tokens: tuple[int, ...], text: str, finish: Any = None
) -> Delta:
    return Delta("r", 0, 0, position, offset, tokens, text, finish_reason=finish)


def test_a_replay_repeats_nothing() -> None:
    entry = make()
    assert entry.accept(delta(0, 0, (1, 2), "ab")) is not None
    assert entry.accept(delta(0, 0, (1, 2), "ab")) is None
    new = entry.accept(delta(1, 1, (2, 3), "bc"))
    assert new is not None
    assert (new.token_ids, new.text) == ((3,), "c")


def test_an_end_is_accepted_once() -> None:
    entry = make()
    assert entry.accept(delta(0, 0, (1,), "a", "stop")) is not None
    assert entry.accept(delta(0, 0, (1,), "a", "stop")) is None


def test_a_resume_starts_behind_what_was_delivered() -> None:
    entry = make()
    entry.accept(delta(0, 0, (1, 2), "a", "length"))
    assert entry.so_far() == (ChoiceSoFar((1, 2), 1, True), ChoiceSoFar((), 0, False))


@pytest.mark.parametrize(
    ("role", "source", "prepared", "caught"),
    [
        ("fetcher", Url("http://x"), False, True),
        ("fetcher", Encoded(BLOB), False, False),
        ("fetcher", Url("http://x"), True, False),
        ("preprocessor", None, False, True),
        ("preprocessor", None, True, True),
        ("scheduler", None, False, False),
        ("scheduler", None, True, True),
        ("detokenizer", None, True, False),
        ("gpu-runner", None, True, False),
        ("encoder-cache", None, True, False),
    ],
)
def test_who_is_caught_by_a_death(role: str, source: Any, prepared: bool, caught: bool) -> None:
    ledger = Ledger()
    ledger.add(make(source, prepared))
    assert bool(list(ledger.caught_by(role))) is caught


def test_with_tokens_delivered_the_preprocessor_is_not_needed() -> None:
    ledger = Ledger()
    entry = make(prepared=True)
    ledger.add(entry)
    entry.accept(delta(0, 0, (1,), "a"))
    assert not list(ledger.caught_by("preprocessor"))


@pytest.mark.parametrize("role", ["fetcher", "preprocessor"])
def test_an_attempt_that_begins_from_the_start_needs_them_whatever_was_delivered_before(
    role: str,
) -> None:
    """A request whose embedding was lost has tokens and a prompt, and waits for its media to be
    prepared once more."""
    ledger = Ledger()
    entry = make(Url("http://x"), prepared=True)
    ledger.add(entry)
    entry.accept(delta(0, 0, (1,), "a"))
    entry.again("send")
    assert list(ledger.caught_by(role)) == [entry]
    assert not list(ledger.caught_by("scheduler")), "it has not been given to any"


def test_a_resumed_attempt_is_not_the_fetchers() -> None:
    ledger = Ledger()
    entry = make(Url("http://x"), prepared=True)
    ledger.add(entry)
    entry.again("resume")
    assert not list(ledger.caught_by("fetcher"))
    assert list(ledger.caught_by("scheduler")) == [entry]


def test_blobs_are_free_when_the_request_is_over_and_nobody_reads_them() -> None:
    ledger = Ledger()
    entry = make(Encoded(BLOB))
    ledger.add(entry)
    entry.over = True
    assert ledger.sweep(entry) == ()
    assert ledger.end_lease("r", 0) is entry
    assert ledger.sweep(entry) == (BLOB,)
    assert ledger.sweep(entry) == ()


def test_a_lease_of_an_older_attempt_ends_nothing() -> None:
    ledger = Ledger()
    ledger.add(make(Encoded(BLOB)))
    assert ledger.end_lease("r", 1) is None


def test_a_hole_is_noticed_before_anything_behind_it_is_delivered() -> None:
    entry = make()
    entry.accept(delta(0, 0, (1, 2), "ab"))
    entry.accept(delta(2, 2, (), ""))
    with pytest.raises(Hole):
        entry.accept(delta(3, 3, (4,), "d"))
    new = entry.accept(delta(1, 1, (2, 3), "bc"))
    assert new is not None
    assert (new.token_ids, new.text) == ((3,), "c")
