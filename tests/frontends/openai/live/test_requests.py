"""What a watcher is told of requests: stages in their order, what deaths cost, bounded lists."""

import msgspec

from thespis.frontends.client.stages import StageSpan, stages_of
from thespis.frontends.openai.live.requests import BESIDE, ENDED, GAPS, SHOWN, Requests
from thespis.protocol.edges.detokenizer_to_client import Finished
from thespis.protocol.edges.scheduler_to_detokenizer import Usage
from thespis.protocol.edges.view import MOST_PAST, RequestSeen
from thespis.protocol.errors import Failure
from thespis.protocol.requests.prepared import Timing
from thespis.protocol.requests.request import MediaItem, Url

from .ledgers import entry

USAGE = Usage(3, 0, {}, 0)
WAY_IN = (Timing("decode", 101.5, 102.0, "image"), Timing("preprocess", 101.0, 101.2))


def seen(stage: str, since: float | None = None, **more: object) -> RequestSeen:
    values: dict[str, object] = {"id": "r", "attempt": 0, "client": "client-a", "arrival": 100.0}
    return RequestSeen(stage=stage, since=since, **{**values, **more})  # type: ignore[arg-type]


def requests() -> Requests:
    return Requests(lambda time: time + 1000, lambda tenant: int(tenant or 0))


def test_the_stages_of_a_request_as_it_goes() -> None:
    new = entry()
    assert stages_of(new.request, None, None) == [StageSpan("accepted", 100.0)]
    waits = seen("media", 101.2, past=(Timing("preprocess", 101.0, 101.2),))
    assert stages_of(new.request, None, waits) == [
        StageSpan("accepted", 100.0, 101.0), StageSpan("preprocess", 101.0, 101.2),
        StageSpan("media", 101.2),
    ]  # fmt: skip
    known = entry(timings=WAY_IN)
    before = [
        StageSpan("accepted", 100.0, 101.0), StageSpan("preprocess", 101.0, 101.2),
        StageSpan("media", 101.5, 102.0, beside=True),
    ]  # fmt: skip
    prepared = known.stream.prepared
    assert stages_of(known.request, prepared, None) == [*before, StageSpan("queue", 102.0)]
    runs = seen("prefill", 103.0, past=(Timing("queue", 102.1, 103.0),))
    queued = StageSpan("queue", 102.1, 103.0)
    assert stages_of(known.request, prepared, runs) == [
        *before,
        queued,
        StageSpan("prefill", 103.0),
    ]
    over = (*WAY_IN, Timing("decode", 104.0, 105.0))
    assert stages_of(known.request, prepared, None, over) == [
        *before,
        StageSpan("decode", 104.0, 105.0),
    ]


def test_of_very_many_stages_few_are_looked_at() -> None:
    many = tuple(Timing("decode", n / 10, n / 10 + 0.1, "image") for n in range(2000))
    new = entry(timings=many)
    assert len(stages_of(new.request, new.stream.prepared, None)) <= MOST_PAST + 2


def test_who_has_ended_is_no_other_clients_though_an_actor_still_tells_of_it() -> None:
    followed, one = requests(), entry("r")
    followed.under_way([one], {}, 101.0)
    followed.end(one, Failure("cancelled", "Gone."), 102.0)
    assert followed.under_way([], {"r": seen("decode", 101.5)}, 103.0) == ([], 0)
    assert [shape.id for shape in followed.ended] == ["r"]


def test_a_request_that_must_be_fetched_is_being_fetched() -> None:
    new = entry()
    item = MediaItem("image", Url("http://x/y"), "here")
    request = msgspec.structs.replace(new.request, media=(item,))
    assert stages_of(request, None, None) == [StageSpan("fetch", 100.0)]


def test_what_was_done_before_a_death_stays_on_view() -> None:
    told = requests()
    first = entry(timings=WAY_IN)
    told.under_way([first], {"r": seen("decode", 103.0)}, 104.0)
    again = entry(timings=WAY_IN, attempt=1)
    stale = seen("decode", 103.0)
    ((shape,), _) = told.under_way([again], {"r": stale}, 105.0)
    names = [(name, end) for name, _, end, _ in shape.stages]
    assert names == [
        ("decode", 1105.0), ("accepted", 1101.0), ("preprocess", 1101.2), ("media", 1102.0),
        ("queue", None),
    ]  # fmt: skip
    assert shape.attempt == 1


def test_a_gap_is_told_while_it_lasts_and_afterwards() -> None:
    told, one = requests(), entry(timings=(), tokens=4)
    for now, stage, gaps in (
        (105.0, "decode", []),
        (106.0, "recompute", [(1106.0, None)]),
        (107.0, "recompute", [(1106.0, None)]),
        (108.0, "decode", [(1106.0, 1108.0)]),
    ):
        ((shape,), _) = told.under_way([one], {"r": seen(stage, 103.0)}, now)
        assert shape.gaps == gaps
        assert told.catching_up is (stage == "recompute")
    for now in range(200, 300, 2):
        told.under_way([one], {"r": seen("recompute", 103.0)}, now)
        ((shape,), _) = told.under_way([one], {"r": seen("decode", 103.0)}, now + 1)
    assert len(shape.gaps) == GAPS


def test_an_end_is_told_with_its_outcome_and_its_stages() -> None:
    told, good, bad = requests(), entry("good", timings=WAY_IN, tokens=7), entry("bad", tenant="2")
    told.under_way([good, bad], {}, 104.0)
    told.end(good, Finished("good", 0, USAGE, 7, (*WAY_IN, Timing("decode", 103.0, 105.0))), 105.0)
    told.end(bad, Failure("cancelled", "No.", code="not_read"), 106.0)
    failed, done = told.ended
    assert (done.outcome, done.end, done.output, done.prompt) == ("done", 1105.0, 7, 3)
    assert done.stages[-1] == ("decode", 1103.0, 1105.0, False)
    assert (failed.outcome, failed.key) == ("not_read", 2)
    assert failed.stages == [("accepted", 1100.0, 1106.0, False)]


def test_lists_are_bounded_and_say_what_they_leave_out() -> None:
    told = requests()
    many = [entry(f"r{number}") for number in range(SHOWN + 5)]
    shapes, left = told.under_way(many, {"other": seen("queue", id="other")}, 104.0)
    assert ([shape.id for shape in shapes], left) == ([f"r{n}" for n in range(SHOWN)], 6)
    for one in many:
        told.end(one, Failure("cancelled", "No."), 105.0)
    assert [shape.id for shape in told.ended] == [f"r{SHOWN + 4 - n}" for n in range(ENDED)]
    items = tuple(Timing("decode", 100.0 + n, 101.0 + n, "image") for n in range(3 * BESIDE))
    ((shape,), _) = told.under_way([entry(timings=items)], {}, 104.0)
    assert len(shape.stages) == BESIDE + 1


def test_requests_of_other_clients_are_told_as_the_actors_see_them() -> None:
    past = (Timing("queue", 101.0, 102.0),)
    other = seen("prefill", 102.0, id="o", client="client-b", done=5, of=9, past=past)
    ((shape,), left) = requests().under_way([], {"o": other}, 104.0)
    assert (shape.id, shape.client, shape.done, shape.of, left) == ("o", "client-b", 5, 9, 0)
    assert [name for name, *_ in shape.stages] == ["accepted", "queue", "prefill"]
