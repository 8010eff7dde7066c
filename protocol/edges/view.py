"""What an engine tells of itself while somebody watches it: ids, numbers and times, never a word of
a prompt or an answer. Parts of messages of `control.py`."""

from collections.abc import Sequence
from typing import Literal

from ..requests.prepared import Timing
from ..wire import Record

MOST_REQUESTS, MOST_ITEMS = 256, 64
"""What one process tells of, at most: a watcher costs the same however long the queue is."""
MOST_PAST = 32
"""Stages of one request: each of a thousand items has its own."""


def few(timings: Sequence[Timing]) -> tuple[Timing, ...]:
    """Of many the first and the last."""
    if len(timings) <= MOST_PAST:
        return tuple(timings)
    half = MOST_PAST // 2
    return (*timings[:half], *timings[-half:])


class RequestSeen(Record, frozen=True):
    """A request as the actor sees it that has it in hand now."""

    id: str
    attempt: int
    client: str
    arrival: float
    """Seconds by time.monotonic, like the other times."""
    stage: str
    since: float | None = None
    """None: it is not noted."""
    done: int = 0
    of: int = 0
    """Items or tokens, as fits the stage; 0: nothing is counted."""
    past: tuple[Timing, ...] = ()
    """Stages that are over, in this process or told to it."""


class ItemSeen(Record, frozen=True):
    """A media item as one cache sees it."""

    key: str
    state: str
    nbytes: int
    hits: int
    """How often it was asked for again while it was there."""
    holders: int
    """Who needs it now."""
    modality: str = ""
    """Empty: not known yet."""
    rows: int = 0


class Seen(Record, frozen=True):
    """What one actor has in hand."""

    requests: tuple[RequestSeen, ...] = ()
    """The oldest `MOST_REQUESTS`."""
    items: tuple[ItemSeen, ...] = ()
    """Those used last, `MOST_ITEMS`."""


class Incarnation(Record, frozen=True):
    """The process that has a role now, as the director and the kernel see it."""

    state: str
    """starting, ready, gone."""
    epoch: int
    restarts: int
    pid: int | None = None
    own_bytes: int = 0
    """Of its memory, what is in no file and no shared memory."""
    shared_bytes: int = 0
    """The rest of what is resident."""
    cpu_seconds: float = 0.0
    """Since it began, of all its threads."""


class Happening(Record, frozen=True):
    """A death or a return, since the engine was ready for the first time."""

    when: float
    """Seconds by time.monotonic."""
    role: str
    epoch: int
    what: Literal["ended", "ready"]
    why: str = ""
    """How it ended."""
