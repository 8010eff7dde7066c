"""Which items of a long prompt are asked for at a time: those that the next steps compute. Pure."""

from bisect import bisect_right
from typing import NamedTuple

from ...protocol.config.roles import SchedulerConfig
from ...protocol.requests.prepared import Prepared
from .sequence import PlacedSpan, ScheduledRequest, place_spans

MOST_ITEMS = 16
"""Asked for and not computed: their features and embeddings are in memory at once."""


class Windows(NamedTuple):
    """Of one engine."""

    rows: int
    """That items which are asked for have together; one may have more."""
    tile: int | None = None
    """Tokens, where prompts are cut at its multiples alone."""

    def at(self, request: ScheduledRequest, start: int) -> dict[str, int]:
        """Rows by key of the items from position `start` on; at least the first, and all that are
        computed at once with it."""
        return self._at(request.spans, request.prepared, start)

    def largest(self, prepared: Prepared) -> int:
        """Rows of the largest window that there will be."""
        spans, tile = place_spans(prepared), self.tile or 1
        starts = {start for placed in spans for start in (placed.start, _floor(placed.start, tile))}
        starts |= {last for _, last in prepared.unbroken}
        return max(sum(self._at(spans, prepared, start).values()) for start in {0, *starts})

    def _at(self, spans: tuple[PlacedSpan, ...], prepared: Prepared, start: int) -> dict[str, int]:
        found: dict[str, int] = {}
        rows = 0
        reach = 0 if self.tile is None else _floor(start, self.tile) + self.tile
        for placed in spans[bisect_right(spans, start, key=_end) :]:
            item = placed.item
            full = len(found) >= MOST_ITEMS or rows + item.rows > self.rows
            if found and full and item.key not in found and placed.start >= reach:
                break
            rows += item.rows if item.key not in found else 0
            found[item.key] = item.rows
            if placed.start < reach or len(found) == 1:
                reach = max(reach, _whole(prepared, max(placed.start, start)))
        return found


def windows_of(config: SchedulerConfig) -> Windows:
    """As many rows as two steps compute, and no more than a quarter of the encoder-cache's
    space."""
    space = config.store_bytes // (4 * max(1, config.hidden_bytes))
    return Windows(max(1, min(2 * config.max_batched_tokens, space)), config.tile)


def behind(request: ScheduledRequest, keys: frozenset[str], start: int) -> frozenset[str]:
    """Those of `keys` whose items lie before position `start`, all their spans."""
    spans = request.spans
    ahead = {placed.item.key for placed in spans[bisect_right(spans, start, key=_end) :]}
    return keys - ahead


def _end(placed: PlacedSpan) -> int:
    return placed.end


def _floor(position: int, size: int) -> int:
    return position - position % size


def _whole(prepared: Prepared, position: int) -> int:
    """The end of the stretch around `position` that must be computed at once; 0: none is."""
    for first, last in prepared.unbroken:
        if first <= position < last:
            return last
        if first > position:
            break
    return 0
