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
class Flight(Generic[W]):
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
    """Times it was flown again for other reasons than a death."""
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
    """Flights by item key; at most one per key."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Flight[W]]] = OrderedDict()
        """Waiting flights per owner; owners take turns."""
        self._flights: dict[str, Flight[W]] = {}
        self._workers: dict[str, Flight[W] | None] = {}
        """Role -> what it is decoding."""

    @property
    def waiting(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    @property
    def running(self) -> int:
        return sum(1 for flight in self._workers.values() if flight is not None)

    def flight(self, key: str) -> Flight[W] | None:
        return self._flights.get(key)

    def flights(self) -> list[Flight[W]]:
        return list(self._flights.values())

    def by_job(self, worker: str, job: int) -> Flight[W] | None:
        """What `worker` is decoding, if it is `job`."""
        flight = self._workers.get(worker)
        return flight if flight is not None and flight.decode.job == job else None

    def enqueue(self, flight: Flight[W], first: bool = False) -> None:
        self._flights[flight.key] = flight
        queue = self._queues.setdefault(flight.owner, deque())
        if first:
            queue.appendleft(flight)
            self._queues.move_to_end(flight.owner, last=False)
        else:
            queue.append(flight)

    def add_worker(self, role: str) -> None:
        self._workers.setdefault(role, None)

    def remove_worker(self, role: str, epoch: int, outside: bool = False) -> Flight[W] | None:
        """The worker is dead; returns what it was decoding, no longer in flight."""
        flight = self._workers.pop(role, None)
        if flight is not None:
            flight.worker = None
            flight.ended.append((role, epoch))
            flight.evidence += evidence(outside)
        return flight

    def start(self) -> list[Flight[W]]:
        """Give idle workers work, owners in turn."""
        started: list[Flight[W]] = []
        for role in [role for role, flight in self._workers.items() if flight is None]:
            flight = self._pop()
            if flight is None:
                break
            flight.worker = role
            self._workers[role] = flight
            started.append(flight)
        return started

    def finish(self, flight: Flight[W]) -> None:
        """It has an end, good or bad."""
        self._flights.pop(flight.key, None)
        self.release(flight)

    def release(self, flight: Flight[W]) -> None:
        """Its worker is idle again, unless it is doomed: then it stays busy until it is gone."""
        if flight.doomed:
            return
        if flight.worker is not None and self._workers.get(flight.worker) is flight:
            self._workers[flight.worker] = None
        flight.worker = None

    def doom(self, flight: Flight[W]) -> None:
        """Its worker will be killed and gets no more work."""
        flight.doomed = True

    def drop(self, flight: Flight[W]) -> bool:
        """Nobody waits for it any more: take it from the queue. False where it is being decoded."""
        if flight.worker is not None:
            return False
        queue = self._queues.get(flight.owner)
        if queue is not None and flight in queue:
            queue.remove(flight)
            if not queue:
                del self._queues[flight.owner]
        self._flights.pop(flight.key, None)
        return True

    def _pop(self) -> Flight[W] | None:
        if not self._queues:
            return None
        owner, queue = next(iter(self._queues.items()))
        flight = queue.popleft()
        if queue:
            self._queues.move_to_end(owner)
        else:
            del self._queues[owner]
        return flight
