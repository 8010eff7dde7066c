"""Who goes alone, who is refused: proof before judgement, by a client that knows only its own
requests."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.actors.quarantine.fingerprints import fingerprint, outline
from thespis.actors.quarantine.records import KEPT_SECONDS, Proof
from thespis.frontends.client.suspects import PLACES, Suspects
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.pooling import PoolingParams
from thespis.protocol.requests.request import Encoded, MediaItem, Request, TextPrompt, Url
from thespis.protocol.requests.sampling import SamplingParams

BYTES = {0: b"red", 64: b"sea"}
"""By offset."""


def read(ref: BlobRef) -> bytes:
    return BYTES[ref.offset]


def make(text: str = "p", source: Any = None, **fields: Any) -> Request:
    media = () if source is None else (MediaItem("image", source, "here"),)
    sampling = fields.pop("sampling", SamplingParams(seed=1))
    return Request(
        id="r",
        client="c",
        arrival=0.0,
        prompt=TextPrompt(text),
        media=media,
        sampling=sampling,
        **fields,
    )


def blob(offset: int) -> Encoded:
    return Encoded(BlobRef("segment", offset, "uint8", (3,)))


def alone() -> Suspects:
    """In an engine in which no other client has been."""
    suspects = Suspects(read)
    for role in PLACES:
        suspects.born(role, others=False)
    return suspects


def everybody(id: str) -> bool:
    return True


@pytest.mark.parametrize("role", PLACES)
def test_two_crashes_alone_are_proof(role: str) -> None:
    suspects = alone()
    assert suspects.died(role, 7, ["a"], outside=False) is None
    assert suspects.died(role, 7, ["a"], outside=False) == Proof("a", (7, 7))
    assert suspects.quiet


def test_kills_from_outside_are_held_against_nobody() -> None:
    suspects = alone()
    for role in PLACES * 20:
        assert suspects.died(role, 7, ["a"], outside=True) is None
    assert suspects.quiet


def test_with_another_client_in_the_engine_nobody_is_alone() -> None:
    suspects = alone()
    suspects.met(others=True)
    for _ in range(5):
        assert suspects.died("scheduler", 7, ["a"], outside=False) is None
        suspects.born("scheduler", others=True)
    assert suspects.died("scheduler", 7, ["a"], outside=False) is None
    suspects.born("scheduler", others=False)
    suspects.met(others=False)
    suspects.died("scheduler", 8, ["a"], outside=False)
    assert suspects.died("scheduler", 9, ["a"], outside=False) == Proof("a", (*[7] * 6, 8, 9)), (
        "its successors were never with the client that has left"
    )


def test_who_came_later_may_find_others_work_there() -> None:
    suspects = Suspects(read)
    assert [suspects.died("fetcher", 7, ["a"], outside=False) for _ in range(3)] == [None] * 3


def test_after_the_second_death_they_go_one_at_a_time() -> None:
    suspects = alone()
    for _ in range(2):
        assert suspects.may_go("a", ["preprocessor"], everybody)
        suspects.died("preprocessor", 7, ["a", "b"], outside=False)
    assert [id for id in "abc" if suspects.may_go(id, ["preprocessor"], everybody)] == ["a"]
    assert suspects.may_go("c", ["scheduler"], everybody), "nobody is suspected there"
    suspects.passed("a")
    assert [id for id in "abc" if suspects.may_go(id, ["preprocessor"], everybody)] == ["b"]
    suspects.ended("b")
    assert all(suspects.may_go(id, ["preprocessor"], everybody) for id in "abc")


def test_what_has_passed_the_preprocessor_is_still_suspect_in_the_scheduler() -> None:
    suspects = alone()
    for _ in range(2):
        suspects.died("scheduler", 7, ["a", "b"], outside=False)
    suspects.passed("a")
    assert not suspects.may_go("b", ["scheduler"], everybody)
    assert suspects.may_go("b", ["scheduler"], lambda id: id != "a"), "a is over"


@given(
    st.lists(st.sampled_from("abcd"), max_size=4, unique=True),
    st.lists(st.sampled_from("abcd"), max_size=4, unique=True),
)
@settings(deadline=None)
def test_whose_turn_it_is_may_go_anywhere_so_nobody_waits_for_ever(
    first: list[str], second: list[str]
) -> None:
    suspects = alone()
    for _ in range(2):
        suspects.died("fetcher", 7, first, outside=False)
        suspects.died("preprocessor", 7, [*second, "e"], outside=False)
    waiting = {*first, *second, "e"}
    while waiting:
        may = [
            id
            for id in waiting
            if suspects.may_go(id, ("fetcher", "preprocessor"), waiting.__contains__)
        ]
        assert len(may) == 1 or suspects.quiet
        for id in may:
            waiting.remove(id)
            suspects.passed(id)


def test_the_same_work_is_refused_for_ten_minutes_whoever_sends_it() -> None:
    suspects = alone()
    suspects.ban(make(source=blob(0)), now=0.0)
    again = msgspec.structs.replace(
        make(source=blob(0), tenant="t"), id="s", sampling=SamplingParams(seed=2)
    )
    refused = suspects.refusal(again, KEPT_SECONDS - 1)
    assert refused is not None
    assert (refused.code, refused.kind) == ("poison", "unprocessable")
    assert suspects.refusal(again, KEPT_SECONDS) is None


@pytest.mark.parametrize(
    "other",
    [
        make(source=blob(0), pooling=PoolingParams()),
        make("q", blob(0)),
        make(source=blob(64)),
        make(source=Url("http://a/")),
        make(source=blob(0), sampling=SamplingParams(temperature=0.5)),
        make(source=blob(0), mm_processor_kwargs={"max_pixels": 9}),
    ],
)
def test_other_work_is_not_refused(other: Request) -> None:
    suspects = alone()
    suspects.ban(make(source=blob(0)), now=0.0)
    assert suspects.refusal(other, 1.0) is None
    assert fingerprint(other, read) != fingerprint(make(source=blob(0)), read)


def test_an_outline_needs_no_bytes() -> None:
    assert outline(make(source=blob(0))) == outline(make(source=blob(64)))
