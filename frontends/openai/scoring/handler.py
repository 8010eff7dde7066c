"""/rerank and /score: vectors of all inputs, as /v1/embeddings has them made, and how near they are
to each other."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from aiohttp import hdrs, web

from ...client.answer import Answer
from ...client.timeline import timeline_of
from ...inputs.nearness import cosines, ranked
from ...inputs.scoring import pair_up
from ..access import TOLD
from ..answering import own_id_of
from ..answers.generate import CallMeter, json_response
from ..answers.writer import told_of
from ..app_state import APP_STATE
from ..bodies.reading import OWN_ID_HEADER, RERANK, SCORE
from ..embeddings.handler import send_pieces, vectorizing
from ..requests.schema import Vectorized
from ..requests.scoring import ComparedInput
from .writers import rerank_pieces, score_body

AT_ONCE = 64
"""Pairs that are compared in one turn of the loop."""
JSON = {hdrs.CONTENT_TYPE: "application/json"}


async def rerank(request: web.Request) -> web.StreamResponse:
    state, arrival = request.app[APP_STATE], time.monotonic()
    with state.working():
        body, sides, headers = await state.read(request, RERANK, generates=True)
        id, answers, scores = await _compared(request, body, sides, arrival)
        best = ranked(scores, body.top_n or None)  # 0 is all of them, as at vLLM
        shown = None if body.return_documents is False else sides[1:]
        head = {"id": f"rerank-{id}", "model": state.terms.model}
        tail = _timeline(body, answers, arrival)
        rows = rerank_pieces(head, scores, best, shown, answers, tail)
        return await send_pieces(request, headers | _named(id) | JSON, rows)


async def score(request: web.Request) -> web.StreamResponse:
    state, arrival = request.app[APP_STATE], time.monotonic()
    with state.working():
        body, sides, headers = await state.read(request, SCORE, generates=True)
        id, answers, scores = await _compared(request, body, sides, arrival)
        told = score_body(f"score-{id}", state.terms.model, int(time.time()), scores, answers)
        return json_response({**told, **_timeline(body, answers, arrival)}, headers | _named(id))


async def _compared(
    request: web.Request, body: Vectorized, sides: Sequence[ComparedInput], arrival: float
) -> tuple[str, list[Answer], list[float]]:
    """The call's id, what was made of its inputs, and a score for each pair."""
    own_id = own_id_of(request, body.request_id)
    meter = CallMeter(request.app[APP_STATE].metrics, arrival, request[TOLD])
    with vectorizing(request, arrival, own_id) as call:
        answers = await call.run(sides)
    meter.end(answers)
    id = own_id or call.id
    meter.begin(id)
    ahead = sum(not side.second for side in sides)
    vectors = [answer.pooled.data for answer in answers]
    first, second = vectors[:ahead], vectors[ahead:]
    pairs = pair_up(len(first), len(second))
    scores: list[float] = []
    for start in range(0, len(pairs), AT_ONCE):
        scores += cosines(pairs[start : start + AT_ONCE], first, second)
        await asyncio.sleep(0)  # others have their turns
    return id, answers, scores


def _timeline(body: Vectorized, answers: Sequence[Answer], arrival: float) -> dict[str, Any]:
    return {"timeline": timeline_of(*told_of(answers), arrival)} if body.timeline else {}


def _named(id: str) -> dict[str, str]:
    return {OWN_ID_HEADER: id}
