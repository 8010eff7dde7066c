"""Which items go through the encoder together, and how much of that is worth waiting for. Pure."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from ...protocol.edges.preprocessor_to_encoder_cache import Features

BATCH_SECONDS = 0.25
"""Nobody waits longer for the company that an item has been encoded in."""
NEWEST = 0.25
"""The part that the newest batch has in what is known of rows."""


class Job(NamedTuple):
    """An item that can be encoded now."""

    key: str
    rows: int
    """Of its embedding."""
    features: Features


def choose(queue: Sequence[Job], max_rows: int) -> list[Job]:
    """The next batch from `queue`, oldest first: the first item and what follows of its kind, up to
    `max_rows` rows.

    An item is never overtaken by a younger one of its kind, and one item larger than `max_rows`
    goes alone.
    """
    batch: list[Job] = []
    rows = 0
    for job in queue:
        if batch and _kind(job) != _kind(batch[0]):
            continue
        if batch and rows + job.rows > max_rows:
            break
        batch.append(job)
        rows += job.rows
    return batch


def part(queue: Sequence[Job], encoders: int) -> int:
    """Rows of the next batch from `queue` where so many encoders rest, so that all of them have
    something of its kind. What is ready is only read, which no other does."""
    rows = sum(job.rows for job in queue if _kind(job) == _kind(queue[0]))
    return rows if queue[0].features.ready else math.ceil(rows / encoders)


class RowPace:
    """How long a row takes: on a CPU a large model encodes its items nearly one by one."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._seconds: dict[str, float] = {}
        """Of one row, by modality."""

    def learn(self, modality: str, rows: int, seconds: float) -> None:
        new = seconds / max(1, rows)
        known = self._seconds.get(modality, new)
        self._seconds[modality] = known + NEWEST * (new - known)

    def rows(self, modality: str) -> int:
        """Of a batch, at the most."""
        seconds = self._seconds.get(modality)
        return (
            self._max_rows
            if not seconds
            else max(1, min(self._max_rows, int(BATCH_SECONDS / seconds)))
        )


def _kind(job: Job) -> tuple[str, bool]:
    return job.features.modality, job.features.ready
