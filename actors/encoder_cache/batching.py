"""Which items go through the encoder together. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from ...protocol.edges.preprocessor_to_encoder_cache import Features


class Job(NamedTuple):
    """An item that can be encoded now."""

    key: str
    rows: int
    """Of its embedding."""
    features: Features


def choose(queue: Sequence[Job], max_rows: int) -> list[Job]:
    """The next batch from `queue`, oldest first: the first item and what follows of its kind, up to `max_rows` rows.

    An item is never overtaken by a younger one of its kind, and one item larger than `max_rows` goes alone.
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


def _kind(job: Job) -> tuple[str, bool]:
    return job.features.modality, job.features.ready
