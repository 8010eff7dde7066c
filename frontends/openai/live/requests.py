"""Requests as a watcher sees them: those under way, what deaths cost them, and the last that have
ended. No clock and no socket here; all that is remembered is bounded."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

import msgspec

from ....protocol.edges.detokenizer_to_client import Finished
from ....protocol.edges.view import RequestSeen
from ....protocol.errors import Failure
from ...client.ledger import LedgerEntry
from ...client.stages import StageSpan, stages_of
from .shapes import RequestShape, StageShape

SHOWN, ENDED = 64, 24
"""Requests under way, and ended ones, that are listed."""
GAPS, BESIDE = 8, 24
"""Of one request: times of being computed again, and stages beside others, that are listed."""
AGAIN = "recompute"
"""The stage of who had tokens and is computed again."""
Gap = tuple[float, float | None]


class _Way(msgspec.Struct):
    """What is remembered of one request that is under way."""

    attempt: int = 0
    stages: list[StageSpan] = []
    """Of this attempt, when they were last seen."""
    lost: list[StageSpan] = []
    """Of attempts before it."""
    gaps: list[Gap] = []

    def look(self, attempt: int, stages: list[StageSpan], now: float) -> None:
        """They are seen so now."""
        if attempt != self.attempt:
            self.lost = _closed([*self.lost, *self.stages], now)
        self.attempt, self.stages = attempt, stages
        again = stages[-1].name == AGAIN and stages[-1].end is None
        if again and not (self.gaps and self.gaps[-1][1] is None):
            self.gaps = [*self.gaps[1 - GAPS :], (now, None)]
        elif not again:
            self.gaps = [(start, now if end is None else end) for start, end in self.gaps]

    @property
    def all(self) -> list[StageSpan]:
        """An attempt that is prepared anew tells anew of what was not."""
        known = {stage for stage in self.stages if stage.end is not None}
        return [*(stage for stage in self.lost if stage not in known), *self.stages]


class Requests:
    """`unix`: Unix time of a time by time.monotonic; `key_of`: the number of a tenant's key."""

    def __init__(self, unix: Callable[[float], float], key_of: Callable[[str], int]) -> None:
        self._unix, self._key_of = unix, key_of
        self._ended: deque[RequestShape] = deque(maxlen=ENDED)
        self._ways: dict[str, _Way] = {}
        """Of those that were listed the last time."""

    @property
    def ended(self) -> list[RequestShape]:
        """The newest first."""
        return list(reversed(self._ended))

    @property
    def catching_up(self) -> bool:
        """Somebody listed is being computed again."""
        return any(way.gaps and way.gaps[-1][1] is None for way in self._ways.values())

    def end(self, entry: LedgerEntry, outcome: Finished | Failure, now: float) -> None:
        """It is over: the last that is told of it."""
        request, prepared = entry.request, entry.stream.prepared
        way = self._ways.pop(request.id, None) or _Way(request.attempt)
        if isinstance(outcome, Finished):
            told = stages_of(request, prepared, None, outcome.timings)
        else:
            told = way.stages or stages_of(request, prepared, None)
        way.look(request.attempt, _closed(told, now), now)
        kind = "done" if isinstance(outcome, Finished) else outcome.code or outcome.kind
        shape = self._own(entry, way, None)
        self._ended.append(msgspec.structs.replace(shape, outcome=kind, end=self._unix(now)))

    def under_way(
        self, entries: Sequence[LedgerEntry], seen: Mapping[str, RequestSeen], now: float
    ) -> tuple[list[RequestShape], int]:
        """Those of this server, the oldest first, then those of other clients; and how many more
        there are. `seen`: what the actors tell, by id."""
        ways, shapes = {}, []
        for entry in islice(entries, SHOWN):
            request = entry.request
            told = seen.get(request.id)
            if told is not None and told.attempt != request.attempt:
                told = None
            way = ways[request.id] = self._ways.get(request.id) or _Way(request.attempt)
            way.look(request.attempt, stages_of(request, entry.stream.prepared, told), now)
            shapes.append(self._own(entry, way, told))
        known = {entry.request.id for entry in entries} | {one.id for one in self._ended}
        others = [told for id, told in seen.items() if id not in known]
        for told in islice(others, SHOWN - len(shapes)):
            way = ways[told.id] = self._ways.get(told.id) or _Way(told.attempt)
            way.look(told.attempt, stages_of(None, None, told), now)
            shapes.append(self._others(told, way))
        self._ways = ways
        return shapes, len(entries) + len(others) - len(shapes)

    def _own(self, entry: LedgerEntry, way: _Way, seen: RequestSeen | None) -> RequestShape:
        request, prepared = entry.request, entry.stream.prepared
        return RequestShape(
            request.id,
            self._unix(request.arrival),
            self._stages(way.all),
            key=self._key_of(request.tenant),
            done=seen.done if seen is not None else 0,
            of=seen.of if seen is not None else 0,
            prompt=len(prepared.token_ids) if prepared is not None else 0,
            output=delivered(entry),
            media=len(request.media),
            attempt=request.attempt,
            gaps=self._gaps(way.gaps),
        )

    def _others(self, seen: RequestSeen, way: _Way) -> RequestShape:
        return RequestShape(
            seen.id,
            self._unix(seen.arrival),
            self._stages(way.all),
            client=seen.client,
            done=seen.done,
            of=seen.of,
            attempt=seen.attempt,
            gaps=self._gaps(way.gaps),
        )

    def _stages(self, stages: Iterable[StageSpan]) -> list[StageShape]:
        beside, shapes = 0, []
        for stage in stages:
            beside += stage.beside
            if not stage.beside or beside <= BESIDE:
                end = None if stage.end is None else self._unix(stage.end)
                shapes.append((stage.name, self._unix(stage.start), end, stage.beside))
        return shapes

    def _gaps(self, gaps: Iterable[Gap]) -> list[Gap]:
        return [
            (self._unix(start), None if end is None else self._unix(end)) for start, end in gaps
        ]


def delivered(entry: LedgerEntry) -> int:
    """Tokens of its answer that have come to the client."""
    return sum(len(choice.token_ids) for choice in entry.choices)


def _closed(stages: Iterable[StageSpan], now: float) -> list[StageSpan]:
    return [stage._replace(end=now) if stage.end is None else stage for stage in stages]
