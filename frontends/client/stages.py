"""Where a request is, and where its time went, as who watches the engine is told. Pure."""

from typing import NamedTuple

from ...protocol.edges.view import RequestSeen, few
from ...protocol.requests.prepared import Prepared, Timing
from ...protocol.requests.request import Request
from .ledger import needs_fetch


class StageSpan(NamedTuple):
    """One stretch of a request's way; seconds by time.monotonic."""

    name: str
    start: float
    end: float | None = None
    """None: it goes on."""
    beside: bool = False
    """It runs beside others, within them."""


_BESIDE = ("encode", "encode wait", "media", "recall")


def stages_of(
    request: Request | None,
    prepared: Prepared | None,
    seen: RequestSeen | None,
    over: tuple[Timing, ...] | None = None,
) -> list[StageSpan]:
    """In order of their beginning; the last goes on unless it is `over`.

    The one place where times of stages come in: whoever stamps finer ones adds them here.
    `request`: None of one that another client has; `prepared`: what the preprocessor has made of
    it; `seen`: what the actor tells that has it now; `over`: all timings, once it has ended well.
    """
    told = over
    if told is None:
        told = few(prepared.timings if prepared is not None else ()) + (seen.past if seen else ())
    stages = sorted(set(map(_stage, told)), key=lambda stage: stage.start)
    arrival = request.arrival if request is not None else seen.arrival if seen is not None else 0.0
    first = next((stage.start for stage in stages if not stage.beside), arrival)
    if first > arrival:
        stages.insert(0, StageSpan("accepted", arrival, first))
    if over is not None:
        return stages
    since = seen.since if seen is not None else None
    if since is None:
        since = max((stage.end for stage in stages if stage.end is not None), default=arrival)
    name = seen.stage if seen is not None else _unseen(request, prepared)
    return [*stages, StageSpan(name, since)]


def _unseen(request: Request | None, prepared: Prepared | None) -> str:
    """Its stage where no actor has told of it."""
    if prepared is not None:
        return "queue"
    return "fetch" if request is not None and needs_fetch(request) else "accepted"


def _stage(timing: Timing) -> StageSpan:
    """The decode of an item is told from that of tokens by its detail, the modality."""
    name = "media" if timing.stage == "decode" and timing.detail else timing.stage
    return StageSpan(name, timing.start, timing.end, name in _BESIDE)
