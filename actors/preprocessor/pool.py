"""Who decodes what, and when: a fair queue before a pool of workers, one item in flight per worker. Pure.

One item at a time, so that a death has exactly one suspect and a kill costs one item.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ...protocol.edges.preprocessor_to_decode_worker import CheckGuide, Decode
from ...protocol.request import MediaItem
from ..quarantine import evidence

W = TypeVar("W")


@dataclass(eq=False)
class DecodeTask(Generic[W]):
    """One item on its way through the pool, for all requests that wait for it."""

    key: str
    owner: str
    """Whose turn it takes in the queue."""
    decode: Decode | CheckGuide
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
        """None: it brings the verdict on a guide."""
        return self.decode.item if isinstance(self.decode, Decode) else None


class Pool(Generic[W]):
    """Tasks by item key; at most one per key."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[DecodeTask[W]]] = OrderedDict()
        """Waiting tasks per owner; owners take turns."""
        self._tasks: dict[str, DecodeTask[W]] = {}
        self._workers: dict[str, DecodeTask[W] | None] = {}
        """Role -> what it is decoding."""

    @property
    def waiting(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    @property
    def running(self) -> int:
        return sum(1 for task in self._workers.values() if task is not None)

    def task(self, key: str) -> DecodeTask[W] | None:
        return self._tasks.get(key)

    def tasks(self) -> list[DecodeTask[W]]:
        return list(self._tasks.values())

    def by_job(self, worker: str, job: int) -> DecodeTask[W] | None:
        """What `worker` is decoding, if it is `job`."""
        task = self._workers.get(worker)
        return task if task is not None and task.decode.job == job else None

    def enqueue(self, task: DecodeTask[W], first: bool = False) -> None:
        self._tasks[task.key] = task
        queue = self._queues.setdefault(task.owner, deque())
        if first:
            queue.appendleft(task)
            self._queues.move_to_end(task.owner, last=False)
        else:
            queue.append(task)

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
        """Give idle workers work, owners in turn."""
        started: list[DecodeTask[W]] = []
        for role in [role for role, task in self._workers.items() if task is None]:
            task = self._pop()
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

    def doom(self, task: DecodeTask[W]) -> None:
        """Its worker will be killed and gets no more work."""
        task.doomed = True

    def drop(self, task: DecodeTask[W]) -> bool:
        """Nobody waits for it any more: take it from the queue. False where it is being decoded."""
        if task.worker is not None:
            return False
        queue = self._queues.get(task.owner)
        if queue is not None and task in queue:
            queue.remove(task)
            if not queue:
                del self._queues[task.owner]
        self._tasks.pop(task.key, None)
        return True

    def _pop(self) -> DecodeTask[W] | None:
        if not self._queues:
            return None
        owner, queue = next(iter(self._queues.items()))
        task = queue.popleft()
        if queue:
            self._queues.move_to_end(owner)
        else:
            del self._queues[owner]
        return task
