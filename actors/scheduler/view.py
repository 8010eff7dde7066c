"""What the scheduler tells who watches the engine: which request is at what, and how far. Pure."""

from collections.abc import Iterable
from itertools import islice

from ...protocol.edges.view import MOST_REQUESTS, RequestSeen, Seen, few
from .sequence import Place, ScheduledRequest


def seen(requests: Iterable[ScheduledRequest]) -> Seen:
    """`requests`: all that are known, the oldest first."""
    live = (request for request in requests if not request.closed)
    return Seen(tuple(map(request_seen, islice(live, MOST_REQUESTS))))


def request_seen(request: ScheduledRequest) -> RequestSeen:
    """At the stage of its first choice that has not ended."""
    stage, since, done, of = _stage(request)
    prepared = request.prepared
    past = few([timing for timing in request.stages() if timing.stage != "decode"])
    return RequestSeen(
        prepared.id, prepared.attempt, prepared.client, prepared.arrival,
        stage, since, done, of, past,
    )  # fmt: skip


def _stage(request: ScheduledRequest) -> tuple[str, float | None, int, int]:
    """With when it began, and how much of what is done."""
    seq = next((seq for seq in request.sequences if not seq.ended), request.sequences[0])
    prompt = len(request.prepared.token_ids)
    if request.first_token is None:
        if request.asked is not None and request.held is None:
            return "encode wait", request.asked, min(seq.planned, prompt), prompt
        if request.started is None:
            return "queue", request.submitted, 0, prompt
        return "prefill", request.started, min(seq.planned, prompt), prompt
    if seq.place is Place.WAITING or seq.planned < seq.target - 1:
        return "recompute", None, seq.planned, seq.known
    output = sum(len(one.output) for one in request.sequences)
    return "decode", request.first_token, output, request.max_tokens * len(request.sequences)
