"""What a watcher is told, as JSON: numbers, names of processes and stages, ids. No text of a prompt
or an answer, no address, no path. Times are Unix seconds by the server's clock."""

from typing import Literal

import msgspec

StageShape = tuple[str, float, float | None, bool]
"""Its name, when it began and ended (None: it goes on), and whether it runs within others."""


class _Shape(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of a snapshot; what is not there has its default."""


class ProcessShape(_Shape, frozen=True):
    role: str
    state: str
    epoch: int
    restarts: int = 0
    pid: int | None = None
    own_bytes: int = 0
    shared_bytes: int = 0
    load: float | None = None
    """CPU seconds a second since the last snapshot; None: it is not known yet."""


class RequestShape(_Shape, frozen=True):
    id: str
    arrival: float
    stages: list[StageShape]
    client: str = ""
    """The process that brought it, where it is not this server."""
    key: int = 0
    """The number of the caller's key, from 1 on, in the order in which they were given; 0: none."""
    done: int = 0
    of: int = 0
    """Of the stage that goes on: items, or tokens."""
    prompt: int = 0
    output: int = 0
    """Tokens; those of an answer as far as they were delivered."""
    media: int = 0
    attempt: int = 0
    gaps: list[tuple[float, float | None]] = []
    """When it was being computed again after a death or a preemption."""
    outcome: str = ""
    """How it ended: `done`, or the kind of its failure."""
    end: float | None = None


class ItemShape(_Shape, frozen=True):
    key: str
    modality: str = ""
    state: str = ""
    rows: int = 0
    embedding_bytes: int = 0
    features_bytes: int = 0
    hits: int = 0
    feature_hits: int = 0
    holders: int = 0


class RecoveryShape(_Shape, frozen=True):
    """What became of the requests that were under way at a death."""

    caught: int
    went_on: int = 0
    """They have got more, or their end, since."""
    failed: int = 0
    seconds: float | None = None
    """Until the last of them had gone on or failed; None: somebody waits."""


class EventShape(_Shape, frozen=True):
    when: float
    role: str
    epoch: int
    what: Literal["ended", "ready"]
    why: str = ""
    after: float | None = None
    """Of a return: seconds since the death before it."""
    streams: RecoveryShape | None = None


class Fill(_Shape, frozen=True):
    used: float
    of: float


class Snapshot(_Shape, frozen=True):
    now: float
    ready: bool
    draining: bool
    model: str
    version: str
    answered: bool
    """False: the director did not answer, and only what this server knows is here."""
    processes: list[ProcessShape] = []
    fills: dict[str, Fill] = {}
    requests: list[RequestShape] = []
    left_out: int = 0
    """Requests under way that are not listed."""
    ended: list[RequestShape] = []
    """The last ones."""
    items: list[ItemShape] = []
    events: list[EventShape] = []
    """The newest first."""
