"""Where the time of a request went, stage by stage and item by item. Pure."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from ...protocol.requests.prepared import ItemSource, Timing
from ...protocol.requests.request import Modality

STAGES = (
    "fetch",
    "recall",
    "decode_media",
    "preprocess",
    "queue",
    "encode_wait",
    "encode",
    "prefill",
    "decode",
)
"""Names of a request's stages, in the order in which they usually begin."""
_PLACE = re.compile(r"messages\[(\d+)\]\.content\[(\d+)\]")
_DIGITS = 6


class StageTime(msgspec.Struct, frozen=True):
    """Seconds after the request's arrival, and how long it took."""

    name: str
    start: float
    seconds: float


class ItemTimeline(msgspec.Struct, frozen=True):
    """One picture, clip or sound."""

    message: int | None
    """Which message of the conversation has it; None: it is of a prompt."""
    part: int | None
    kind: Modality
    hit: Literal["features", "embedding"] | None
    """What was known of it: it was decoded, or it was encoded too. None: nothing."""
    bytes: int
    """As it came in."""
    stages: tuple[StageTime, ...]
    """`fetch`, `recall`, `decode` and `encode`, as far as each was needed."""


class Timeline(msgspec.Struct, frozen=True):
    """Of one call."""

    stages: tuple[StageTime, ...]
    items: tuple[ItemTimeline, ...]


def timeline_of(
    timings: Sequence[Timing], sources: Sequence[ItemSource], arrival: float
) -> Timeline:
    """`arrival`: by the clock of `timings`. What began before it, for another request, counts from
    there on."""
    by_item: dict[str, list[StageTime]] = {}
    whole: dict[str, list[Timing]] = {}
    for timing in timings:
        whole.setdefault(_name(timing), []).append(timing)
        if timing.item:
            stage = _stage(timing.stage, (timing,), arrival)
            by_item.setdefault(timing.item, []).append(stage)
    stages = (_stage(name, whole[name], arrival) for name in STAGES if name in whole)
    return Timeline(
        stages=tuple(sorted(stages, key=lambda stage: stage.start)),
        items=tuple(_item(source, by_item) for source in sources),
    )


def durations(timings: Sequence[Timing]) -> Iterable[tuple[str, float]]:
    """Each stage, and how long it took; of the stages of items each by itself."""
    return ((_name(timing), max(0.0, timing.end - timing.start)) for timing in timings)


def _name(timing: Timing) -> str:
    """Two stages are called decode: of media, which tells what it decoded, and of tokens."""
    if timing.stage == "decode" and timing.detail:
        return "decode_media"
    return timing.stage.replace(" ", "_")


def _stage(name: str, timings: Iterable[Timing], arrival: float) -> StageTime:
    """From the first beginning to the last end."""
    spans = [(timing.start, timing.end) for timing in timings]
    start = max(arrival, min(start for start, _ in spans)) - arrival
    end = max(end for _, end in spans) - arrival
    return StageTime(name, round(start, _DIGITS), round(max(0.0, end - start), _DIGITS))


def _item(source: ItemSource, by_item: dict[str, list[StageTime]]) -> ItemTimeline:
    place = _PLACE.match(source.where)
    encoded = [stage for key in source.keys for stage in by_item.get(key, ())]
    return ItemTimeline(
        message=int(place[1]) if place else None,
        part=int(place[2]) if place else None,
        kind=source.modality,
        hit=None if encoded and not source.held else "features" if encoded else "embedding",
        bytes=source.nbytes,
        stages=(*by_item.get(source.where, ()), *encoded),
    )
