"""Items on their way to features: flights over the pool of workers, the store of what is held, kills and retries.

No sockets here: the shell gives it ways to send, to kill, to be called later, and to hear what becomes of a ticket.
"""

import itertools
import time
from asyncio import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from ...protocol.edges.decode_worker_to_preprocessor import Decoded
from ...protocol.edges.preprocessor_to_decode_worker import CheckGuide, Decode, FreeFeatures
from ...protocol.errors import Failure, RequestError
from ...protocol.guide import Guide
from ...protocol.request import Embeds, Modality, PackedEmbeds
from ...protocol.roles import PreprocessorConfig
from ...protocol.wire import Message
from ..quarantine import PROOF, Banned
from .guides import TOO_LARGE, TOO_SLOW, KnownGuides
from .pool import Flight, Pool
from .store import NO_ROOM, Entry, FeatureStore
from .ticket import Ticket, Waiter

CUT_SECONDS = 0.2
"""How long a decode that nobody waits for any more may go on."""
GUIDE_SECONDS = 15.0
"""Wall clock for one guide in a worker, which may have to read the vocabulary first; beyond it the worker is killed."""
BYTES_GONE = Failure(
    "invalid_request", "The request that brought this item's data has ended; send it with its data.", code="cache_miss"
)


@dataclass(frozen=True)
class Shell:
    """What decoding asks of the process around it."""

    send: Callable[[str, Message], bool]
    kill: Callable[[str], None]
    """By role; the worker's end comes back as `worker_gone`."""
    excuse: Callable[[str, int], None]
    """By role: its death has an explanation."""
    later: Callable[[float, Callable[[], None]], TimerHandle]
    complete: Callable[[Ticket], None]
    """All items of a ticket are there and pinned."""
    fail: Callable[[Ticket, Failure], None]
    """Ends the ticket, which calls `release`."""
    clock: Callable[[], float] = time.monotonic
    """Seconds."""


class Decoding:
    """Owns the pool, the store and the timers."""

    def __init__(self, config: PreprocessorConfig, shell: Shell) -> None:
        self.pool: Pool[Waiter] = Pool()
        self._banned = Banned()
        self.store = FeatureStore(config.cache_bytes)
        self.guides = KnownGuides()
        self._seconds = config.media.decode_seconds
        self._shell = shell
        self._timers: dict[Flight[Waiter], TimerHandle] = {}
        self._jobs = itertools.count(1)
        self.count = {"decoded": 0, "decode_hits": 0, "worker_kills": 0, "worker_deaths": 0}

    def counters(self) -> dict[str, float]:
        return {
            **self.count,
            "cache_bytes": self.store.bytes,
            "cache_items": len(self.store),
            "cache_pins": self.store.pins,
            "features_leased": self.store.leases,
            "decodes_waiting": self.pool.waiting,
            "decodes_running": self.pool.running,
        }

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    # tickets

    def want(self, ticket: Ticket, index: int, key: str, processor: dict[str, Any], io: dict[str, Any], salt: str) -> bool:
        """Pin the item's features, or wait for the flight that brings them. False: not held, and there are no bytes."""
        entry = self.store.get(key)
        if entry is not None:
            self.count["decode_hits"] += 1
            entry.pins += 1
            ticket.entries[index] = entry
            return True
        item = ticket.request.media[index]
        flight = self.pool.flight(key)
        if item.source is None and flight is None:
            return False
        if self._banned.holds(key, self._shell.clock()):
            raise RequestError(msgspec.structs.replace(_poison(item.modality), part=item.where))
        if flight is not None:
            self.count["decode_hits"] += 1
        else:
            job = Decode(next(self._jobs), item, processor, io, salt)
            flight = Flight(key, ticket.request.id, job, isinstance(item.source, Embeds | PackedEmbeds))
            self.pool.enqueue(flight)
        flight.waiters.append(Waiter(ticket, index))
        return True

    def want_guide(self, ticket: Ticket, guide: Guide) -> None:
        """Wait for a worker's verdict: guides are built where that may take a process with it. Raises RequestError."""
        match self.guides.verdict(guide):
            case Guide() as known:
                ticket.take_guide(known)
                return
            case Failure() as failure:
                raise RequestError(failure)
        ticket.unchecked = True
        flight = self.pool.flight(key := self.guides.key(guide))
        if flight is None:
            flight = Flight(key, ticket.request.id, CheckGuide(next(self._jobs), guide), True)
            self.pool.enqueue(flight, first=True)
        flight.waiters.append(Waiter(ticket, None))

    def pump(self) -> None:
        """Give idle workers what waits."""
        for flight in self.pool.start():
            assert flight.worker is not None
            seconds = self._seconds if flight.item is not None else GUIDE_SECONDS
            self._timers[flight] = self._later(seconds, self._overrun, flight)
            self._shell.send(flight.worker, flight.decode)

    def release(self, ticket: Ticket) -> None:
        """Take back its pins and its places in flights. Its bytes may go at once: a worker that is still copying them files
        what it gets under the digest of what it got, and a flight that others wait for is then flown again from theirs."""
        for entry in ticket.entries:
            if entry is not None:
                entry.pins -= 1
        for flight in self.pool.flights() if ticket.request.media or ticket.unchecked else ():
            before = len(flight.waiters)
            flight.waiters = [waiter for waiter in flight.waiters if waiter.ticket is not ticket]
            if len(flight.waiters) < before:
                self._fewer_waiters(flight)
        self.evict()

    def _fewer_waiters(self, flight: Flight[Waiter]) -> None:
        if not flight.waiters:
            if self.pool.drop(flight):
                self._excuse(flight)
            else:
                self._later(CUT_SECONDS, self._cut, flight)
        elif not any(waiter.item is flight.item for waiter in flight.waiters):  # whose bytes are read is over
            if flight.worker is None:
                self._repoint(flight)
            else:
                flight.stale = True

    # answers of workers

    def decoded(self, worker: str, message: Decoded) -> None:
        flight = self._landed(worker, message.job)
        if flight is None or flight.over or message.key != flight.key:
            self._shell.send(worker, FreeFeatures((message.job,)))
            if flight is not None and not flight.over:
                self._again(flight, Failure("internal", "The item's bytes changed while they were read."))
        else:
            self.count["decoded"] += 1
            self.pool.finish(flight)
            entry = Entry(message, worker, flight.ready)
            self.store.add(entry)
            for waiter in flight.waiters:
                entry.pins += 1
                assert waiter.index is not None
                waiter.ticket.entries[waiter.index] = entry
            for ticket in {waiter.ticket: None for waiter in flight.waiters}:
                ticket.timings.extend(message.timings)
                if ticket.complete:
                    self._shell.complete(ticket)
            self.evict()
        self.pump()

    def guide_checked(self, worker: str, job: int, guide: Guide) -> None:
        """The guide can be built; `guide` is how the runner wants it."""
        flight = self._landed(worker, job)
        if flight is not None and not flight.over:
            self.pool.finish(flight)
            self.guides.learn(flight.key, guide)
            for waiter in flight.waiters:
                waiter.ticket.take_guide(guide)
                if waiter.ticket.complete:
                    self._shell.complete(waiter.ticket)
        self.pump()

    def failed(self, worker: str, job: int, failure: Failure) -> None:
        flight = self._landed(worker, job)
        if flight is not None and not flight.over:
            if flight.stale or (failure.code == NO_ROOM and self._free(self.store.evict(worker))):
                self._again(flight, failure)
            else:
                self._end(flight, failure)
        self.pump()

    def worker_gone(self, worker: str, epoch: int, outside: bool = False) -> set[Entry]:
        """Returns the features that died with it; who has them pinned must want them again. `outside`: it was killed."""
        self.count["worker_deaths"] += 1
        flight = self.pool.remove_worker(worker, epoch, outside)
        lost = set(self.store.worker_gone(worker))
        if flight is not None:
            self._stop_timer(flight)
            if not flight.over and flight.waiters and flight.evidence < PROOF:
                if self._repoint(flight):
                    self.pool.enqueue(flight, first=True)
            elif not flight.over:
                if flight.evidence >= PROOF:
                    self._banned.add(flight.key, self._shell.clock())
                self._end(flight, _deadly(flight))
        return lost

    # features

    def evict(self) -> None:
        self._free(self.store.evict())

    def _free(self, entries: list[Entry]) -> bool:
        by_worker: dict[str, list[int]] = {}
        for entry in entries:
            by_worker.setdefault(entry.worker, []).append(entry.decoded.job)
        for worker, jobs in by_worker.items():
            self._shell.send(worker, FreeFeatures(tuple(jobs)))
        return bool(entries)

    # flights

    def _landed(self, worker: str, job: int) -> Flight[Waiter] | None:
        """The flight that this answers; its worker is idle again."""
        flight = self.pool.by_job(worker, job)
        if flight is not None:
            self._stop_timer(flight)
            self.pool.release(flight)
        return flight

    def _again(self, flight: Flight[Waiter], failure: Failure) -> None:
        """Fly once more, from the bytes of somebody who still waits."""
        flight.retries += 1
        if not flight.waiters or flight.retries > 1:
            self._end(flight, failure)
        elif self._repoint(flight):
            self.pool.enqueue(flight, first=True)

    def _repoint(self, flight: Flight[Waiter]) -> bool:
        """To the bytes of somebody who still waits. False: who waits named it by its id alone, and the flight has ended."""
        flight.stale = False
        if isinstance(flight.decode, Decode):
            item = next((w.item for w in flight.waiters if w.item is not None and w.item.source is not None), None)
            if item is None:
                self._end(flight, BYTES_GONE)
                return False
            flight.decode = msgspec.structs.replace(flight.decode, item=item)
        flight.decode = msgspec.structs.replace(flight.decode, job=next(self._jobs))
        return True

    def _end(self, flight: Flight[Waiter], failure: Failure) -> None:
        """Every request that waits for it ends; each is told its own name for the item."""
        if flight.item is None:
            self.guides.learn(flight.key, failure)
        self._excuse(flight)
        own_part = failure.part is not None and (flight.item is None or failure.part != flight.item.where)
        self.pool.drop(flight)
        self.pool.finish(flight)
        flight.over = True
        waiters, flight.waiters = flight.waiters, []
        for waiter in waiters:
            part = failure.part if own_part or waiter.item is None else waiter.item.where
            self._shell.fail(waiter.ticket, msgspec.structs.replace(failure, part=part))

    def _excuse(self, flight: Flight[Waiter]) -> None:
        """It is not tried again: the deaths that it was at are its own. If it had been decoded after all, they would be the
        workers'."""
        for role, epoch in flight.ended:
            self._shell.excuse(role, epoch)
        flight.ended.clear()

    def _overrun(self, flight: Flight[Waiter]) -> None:
        self._kill(flight)
        if flight.item is None:
            self._end(flight, TOO_SLOW)
        else:
            self._end(flight, Failure("unprocessable_media", f"The item takes longer than {self._seconds:g} s to decode."))

    def _cut(self, flight: Flight[Waiter]) -> None:
        if not flight.waiters and flight.worker is not None and not flight.over:
            self._kill(flight)
            self._end(flight, Failure("cancelled", "Nobody waits for the item."))

    def _kill(self, flight: Flight[Waiter]) -> None:
        """The worker stays busy in the books until it is gone."""
        assert flight.worker is not None
        self.count["worker_kills"] += 1
        self.pool.doom(flight)
        self._shell.kill(flight.worker)

    def _later(self, seconds: float, step: Callable[[Flight[Waiter]], None], flight: Flight[Waiter]) -> TimerHandle:
        return self._shell.later(seconds, lambda: step(flight))

    def _stop_timer(self, flight: Flight[Waiter]) -> None:
        timer = self._timers.pop(flight, None)
        if timer is not None:
            timer.cancel()


def _deadly(flight: Flight[Waiter]) -> Failure:
    """What killed two workers is not tried on a third."""
    if flight.item is None:
        return TOO_LARGE
    return _poison(flight.item.modality)


def _poison(modality: Modality) -> Failure:
    return Failure("unprocessable_media", f"The {modality} cannot be decoded: it ended the decoder twice.", code="poison")
