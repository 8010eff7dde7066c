"""Who decodes what, and when: a fair queue before a pool of workers, one item in flight per worker.
Pure.

One item at a time, so that a death has exactly one suspect and a kill costs one item. Tenants take
turns, and in a tenant its clients and requests. Where there are several workers, one is kept from
clips and sounds, which may take a minute each.
"""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ...protocol.edges.preprocessor_to_decode_worker import Decode, ReadDocument, ReadText
from ...protocol.requests.request import Embeds, MediaItem, PackedEmbeds
from ..jobs.limits import Job
from ..quarantine.records import evidence
from .turns import Turns

W = TypeVar("W")


@dataclass(eq=False)
class DecodeTask(Generic[W]):
    """One item on its way through the pool, for all requests that wait for it."""

    key: str
    owner: tuple[str, ...]
    """Whose turn it takes in the queue: tenant, client, request."""
    decode: Job
    ready: bool
    waiters: list[W] = field(default_factory=list)
    worker: str | None = None
    ended: list[tuple[str, int]] = field(default_factory=list)
    """Workers that died with it in hand, by role and epoch."""
    evidence: int = 0
    """That it ends its workers: it was alone in each that died."""
    retries: int = 0
    """Times it was run again for other reasons than a death."""
    stale: bool = False
    """The request whose bytes are being read has ended; its answer may be about other bytes."""
    over: bool = False
    """It has an end; a doomed worker may still be at it."""
    doomed: bool = False
    """Its worker is about to be killed."""

    @property
    def item(self) -> MediaItem | None:
        """None: it brings the verdict on a guide, or a rendered conversation."""
        job = self.decode
        return job.item if isinstance(job, Decode | ReadDocument | ReadText) else None

    @property
    def slow(self) -> bool:
        """It may take much longer than a picture may."""
        item = self.item
        if item is None or isinstance(item.source, Embeds | PackedEmbeds):
            return False
        return item.modality != "image"


class Pool(Generic[W]):
    """Tasks by item key; at most one per key."""

    def __init__(self) -> None:
        self._queue: Turns[DecodeTask[W]] = Turns()
        self._tasks: dict[str, DecodeTask[W]] = {}
        self._workers: dict[str, DecodeTask[W] | None] = {}
        """Role -> what it is decoding."""

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def running(self) -> int:
        return sum(1 for task in self._workers.values() if task is not None)

    @property
    def workers(self) -> list[str]:
        """Roles."""
        return list(self._workers)

    def task(self, key: str) -> DecodeTask[W] | None:
        return self._tasks.get(key)

    def tasks(self) -> list[DecodeTask[W]]:
        return list(self._tasks.values())

    def by_job(self, worker: str, job: int) -> DecodeTask[W] | None:
        """What `worker` is decoding, if it is `job`."""
        task = self._workers.get(worker)
        return task if task is not None and task.decode.job == job else None

    def enqueue(self, task: DecodeTask[W], first: bool = False) -> None:
        """`first`: before all else of its tenant."""
        self._tasks[task.key] = task
        self._queue.push(task.owner, task, first)

    def add_worker(self, role: str) -> None:
        self._workers.setdefault(role, None)

    def remove_worker(self, role: str, epoch: int, outside: bool = False) -> DecodeTask[W] | None:
        """The worker is dead; returns what it was decoding, no longer in task."""
        task = self._workers.pop(role, None)
        if task is not None:
            task.worker = None
            task.ended.append((role, epoch))
            task.evidence += evidence(outside)
        return task

    def start(self) -> list[DecodeTask[W]]:
        """Give idle workers work, in turn."""
        started: list[DecodeTask[W]] = []
        for role in [role for role, task in self._workers.items() if task is None]:
            task = self._queue.pop(self._may_start)
            if task is None:
                break
            task.worker = role
            self._workers[role] = task
            started.append(task)
        return started

    def finish(self, task: DecodeTask[W]) -> None:
        """It has an end, good or bad."""
        self._tasks.pop(task.key, None)
        self.release(task)

    def release(self, task: DecodeTask[W]) -> None:
        """Its worker is idle again, unless it is doomed: then it stays busy until it is gone."""
        if task.doomed:
            return
        if task.worker is not None and self._workers.get(task.worker) is task:
            self._workers[task.worker] = None
        task.worker = None

    def drop(self, task: DecodeTask[W]) -> bool:
        """Nobody waits for it any more: take it from the queue. False where it is being decoded."""
        if task.worker is not None:
            return False
        self._queue.remove(task.owner, task)
        self._tasks.pop(task.key, None)
        return True

    def _may_start(self, task: DecodeTask[W]) -> bool:
        """A slow one only where a worker is left for the others, or there is but one."""
        slow = sum(1 for running in self._workers.values() if running is not None and running.slow)
        return not task.slow or slow < max(1, len(self._workers) - 1)
