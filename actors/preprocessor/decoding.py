"""From items to features: tasks for the pool of workers, the store of what is held, kills and
retries.

No sockets here: the shell gives it ways to send, to kill, to be called later, and to hear what
becomes of a pending.
"""

import itertools
import logging
from asyncio import TimerHandle
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

import msgspec

from ...protocol.config.roles import PreprocessorConfig
from ...protocol.edges.decode_worker_to_preprocessor import Decoded
from ...protocol.edges.encoder_cache_to_preprocessor import Recalled, RecalledId
from ...protocol.edges.preprocessor_to_decode_worker import (
    CheckGuide,
    Decode,
    ForgetDocument,
    FreeFeatures,
    ReadDocument,
    ReadText,
)
from ...protocol.errors import Failure, RequestError
from ...protocol.requests.request import Embeds, MediaItem, PackedEmbeds
from ..jobs.guides import KnownGuides
from ..jobs.identity import ItemOptions
from ..jobs.limits import Job, limits_of, poison
from ..quarantine.records import PROOF, Banned
from .effort import Effort
from .identities import Identities, cache_miss
from .pending_request import PendingRequest, Waiter
from .pool import DecodeTask, Pool
from .recalling import Recalling
from .remembered import RememberedIds
from .shell import Shell
from .store import NO_ROOM, FeatureEntry, FeatureStore

log = logging.getLogger(__name__)
Task: TypeAlias = DecodeTask[Waiter]

CUT_SECONDS = 0.5
"""For which a decode that nobody waits for any more may go on; waits for a processor do not count.
A successor takes about as much to start, and what the worker keeps goes with it."""
LOOK_AGAIN_SECONDS = 0.05
"""A timer may come before an answer that was there earlier: before a worker is killed, what it has
sent is read."""
BYTES_GONE = Failure(
    "invalid_request",
    "The request that brought this item's data has ended; send it with its data.",
    code="cache_miss",
)


class ItemDecoding:
    """Owns the pool, the store and the timers."""

    def __init__(self, config: PreprocessorConfig, identities: Identities, shell: Shell) -> None:
        self.pool: Pool[Waiter] = Pool()
        self._banned = Banned()
        self.store = FeatureStore(config.cache_bytes)
        self.guides = KnownGuides()
        self._limits = config.media
        self._shell = shell
        self._timers: dict[Task, TimerHandle] = {}
        self.recalling = Recalling(config.recalls, shell, self.pump)
        self.ids = RememberedIds(config.hasher, config.recalls, identities, shell)
        self._began: dict[Task, Effort] = {}
        """Of those that have a timer: what its worker had done before."""
        self.jobs = itertools.count(1)
        self.count = {
            "decoded": 0,
            "looked": 0,
            "decode_hits": 0,
            "worker_kills": 0,
            "worker_deaths": 0,
        }

    def counters(self) -> dict[str, float]:
        return {
            **self.count,
            "cache_bytes": self.store.bytes,
            "cache_items": len(self.store),
            "cache_pins": self.store.pins,
            "features_leased": self.store.leases,
            "decodes_waiting": self.pool.waiting,
            "decodes_running": self.pool.running,
            **self.recalling.counters(),
        }

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self.recalling.close()
        self.ids.close()

    # requests

    def want(
        self,
        pending: PendingRequest,
        index: int,
        key: str,
        options: ItemOptions,
        look: bool = False,
        again: bool = False,
    ) -> bool:
        """Pin the item's features, or wait for who knows them, or for the task that brings them.
        False: not held, and there are no bytes. `look`: what its headers tell is enough; `again`:
        they were there."""
        entry = self.store.get(key)
        if entry is not None:
            self.count["decode_hits"] += 1
            entry.hits += 1
            pending.take(index, entry)
            pending.kept.add(index)
            return True
        item = pending.request.media[index]
        task = self.pool.task(key)

        def go_on() -> None:
            if not self.want(pending, index, key, options, look, again):
                raise cache_miss(pending.request, index, again)
            if pending.complete:
                self._shell.complete(pending)

        if task is None and self.recalling.ask(pending, index, key, go_on):
            return True
        if item.source is None and task is None:
            return False
        self.refuse_banned(key, item)
        if task is not None:
            self.count["decode_hits"] += 1
        else:
            job = Decode(next(self.jobs), item, *options, look)
            ready = isinstance(item.source, Embeds | PackedEmbeds)
            task = self.enqueue(pending, key, job, ready)
        task.waiters.append(Waiter(pending, index))
        return True

    def refuse_banned(self, key: str, item: MediaItem) -> None:
        """Raises RequestError for what has ended workers."""
        if self._banned.holds(key, self._shell.clock()):
            raise RequestError(msgspec.structs.replace(poison(item.modality), part=item.where))

    def enqueue(
        self, pending: PendingRequest, key: str, job: Job, ready: bool, first: bool = False
    ) -> Task:
        """A new task, in its request's turn."""
        request = pending.request
        task: Task = DecodeTask(key, (request.tenant, request.client, request.id), job, ready)
        self.pool.enqueue(task, first)
        return task

    def pump(self) -> None:
        """Give idle workers what waits."""
        for task in self.pool.start():
            assert task.worker is not None
            self._began[task] = self._shell.effort(task.worker)
            seconds = limits_of(task.decode, self._limits).seconds
            self._timers[task] = self._later(seconds, self._overrun, task)
            self._shell.send(task.worker, task.decode)

    def release(self, pending: PendingRequest) -> None:
        """Take back its pins and its places in tasks. Its bytes may go at once: a worker that is
        still copying them files what it gets under the digest of what it got, and a task that
        others wait for is then run again from theirs."""
        self.recalling.release(pending)
        for entry in pending.entries:
            if entry is not None:
                entry.pins -= 1
        for task in () if pending.served else self.pool.tasks():
            before = len(task.waiters)
            task.waiters = [waiter for waiter in task.waiters if waiter.pending is not pending]
            if len(task.waiters) < before:
                self._fewer_waiters(task)
        self.evict()

    def _fewer_waiters(self, task: Task) -> None:
        if not task.waiters:
            if self.pool.drop(task):
                self._excuse(task)
            else:
                assert task.worker is not None
                before = self._shell.effort(task.worker)
                self._later(CUT_SECONDS, partial(self._cut, before=before), task)
        elif any(waiter.item is task.item for waiter in task.waiters):
            return
        elif task.worker is None:  # whose bytes are read is over
            self._repoint(task)
        else:
            task.stale = True

    # answers of workers

    def decoded(self, worker: str, message: Decoded) -> None:
        task = self.landed(worker, message.job)
        if task is None or message.key != task.key:
            self._shell.send(worker, FreeFeatures((message.job,)))
            if task is not None:
                text = "The item's bytes changed while they were read."
                self.again(task, Failure("internal", text))
        else:
            is_look = isinstance(task.decode, Decode) and task.decode.look
            self.count["looked" if is_look else "decoded"] += 1
            self.pool.finish(task)
            entry = FeatureEntry(message, worker, task.ready)
            self.store.add(entry)
            for waiter in task.waiters:
                assert waiter.index is not None
                waiter.pending.take(waiter.index, entry)
                where = waiter.pending.request.media[waiter.index].where
                waiter.pending.timings.extend(
                    msgspec.structs.replace(timing, item=where) for timing in message.timings
                )
            for pending in {waiter.pending: None for waiter in task.waiters}:
                if pending.complete:
                    self._shell.complete(pending)
            self.evict()
        self.pump()

    def failed(self, worker: str, job: int, failure: Failure) -> None:
        task = self.landed(worker, job)
        if task is not None:
            if task.stale or (failure.code == NO_ROOM and self._free(self.store.evict(worker))):
                self.again(task, failure)
            else:
                self._end(task, failure)
        self.pump()

    def worker_gone(self, worker: str, epoch: int, outside: bool = False) -> set[FeatureEntry]:
        """Returns the features that died with it; who has them pinned must want them again.
        `outside`: it was killed."""
        self.count["worker_deaths"] += 1
        task = self.pool.remove_worker(worker, epoch, outside)
        lost = set(self.store.worker_gone(worker))
        if task is not None:
            self._stop_timer(task)
            if task.over:
                return lost
            if task.waiters and task.evidence < PROOF:
                if self._repoint(task):
                    self.pool.enqueue(task, first=True)
            else:
                if task.evidence >= PROOF:
                    self._banned.add(task.key, self._shell.clock())
                self._end(task, limits_of(task.decode, self._limits).deadly)
        return lost

    # features

    def reader_gone(self) -> None:
        """The encoder-cache is dead."""
        self.store.reader_gone()
        self.evict()
        self.recalling.gone()
        self.ids.gone()

    def told(self, message: Recalled | RecalledId) -> None:
        """What the encoder-cache knows from before this start."""
        if isinstance(message, Recalled):
            self.recalling.told(message)
        else:
            self.ids.told(message)

    def returned(self, keys: Iterable[str]) -> None:
        """Leases on parts."""
        for key in keys:
            self.store.returned(key)
        self.evict()

    def evict(self) -> None:
        self._free(self.store.evict())

    def reset(self) -> None:
        """Keep no features for reuse."""
        self._free(self.store.reset())

    def _free(self, entries: list[FeatureEntry]) -> bool:
        by_worker: dict[str, list[int]] = {}
        for entry in entries:
            by_worker.setdefault(entry.worker, []).append(entry.decoded.job)
        for worker, jobs in by_worker.items():
            self._shell.send(worker, FreeFeatures(tuple(jobs)))
        return bool(entries)

    def forget_documents(self) -> None:
        """No request that has one is left: workers need not keep the bytes."""
        for worker in self.pool.workers:
            self._shell.send(worker, ForgetDocument())

    # tasks

    def landed(self, worker: str, job: int) -> Task | None:
        """The task that this answers, unless it has an end; its worker is idle again."""
        task = self.pool.by_job(worker, job)
        if task is None:
            return None
        self._stop_timer(task)
        self.pool.release(task)
        return None if task.over else task

    def again(self, task: Task, failure: Failure) -> None:
        """Run it once more, from the bytes of somebody who still waits."""
        if not task.stale:  # that costs a waiter each time, and says nothing of the item
            task.retries += 1
        if not task.waiters or task.retries > 1:
            self._end(task, failure)
        elif self._repoint(task):
            self.pool.enqueue(task, first=True)

    def _repoint(self, task: Task) -> bool:
        """To the bytes of somebody who still waits. False: who waits named it by its id alone, and
        the task has ended."""
        task.stale = False
        if isinstance(task.decode, Decode | ReadDocument | ReadText):
            items = (waiter.item for waiter in task.waiters)
            item = next((one for one in items if one is not None and one.source is not None), None)
            if item is None:
                self._end(task, BYTES_GONE)
                return False
            task.decode = msgspec.structs.replace(task.decode, item=item)
        task.decode = msgspec.structs.replace(task.decode, job=next(self.jobs))
        return True

    def _end(self, task: Task, failure: Failure) -> None:
        """Every request that waits for it ends; each is told its own name for the item."""
        is_guide = isinstance(task.decode, CheckGuide)
        if is_guide:
            self.guides.learn(task.key, failure)
        self._excuse(task)
        told = None if task.item is None else task.item.where
        own_part = failure.part is not None and failure.part != told
        self.pool.drop(task)
        self.pool.finish(task)
        task.over = True
        waiters, task.waiters = task.waiters, []
        for waiter in waiters:
            part = failure.part if own_part else waiter.part(is_guide)
            self._shell.fail(waiter.pending, msgspec.structs.replace(failure, part=part))

    def _excuse(self, task: Task) -> None:
        """It is not tried again: the deaths of its workers are its fault. Had it been decoded, they
        would be their own."""
        for role, epoch in task.ended:
            self._shell.excuse(role, epoch)
        task.ended.clear()

    def _overrun(self, task: Task) -> None:
        assert task.worker is not None
        spent = self._shell.effort(task.worker).since(self._began[task]).could_run
        left = limits_of(task.decode, self._limits).seconds - spent
        wait, step = (left, self._overrun) if left > 0 else (0.0, self._end_overrun)
        self._timers[task] = self._later(max(wait, LOOK_AGAIN_SECONDS), step, task)

    def _end_overrun(self, task: Task) -> None:
        self._kill(task, "it takes too long")
        self._end(task, limits_of(task.decode, self._limits).overrun)

    def _cut(self, task: Task, before: Effort) -> None:
        if task.waiters or task.worker is None or task.over:
            return
        left = CUT_SECONDS - self._shell.effort(task.worker).since(before).own
        if left > 0:
            self._later(max(left, LOOK_AGAIN_SECONDS), partial(self._cut, before=before), task)
        else:
            self._kill(task, "nobody waits for it any more")
            self._end(task, Failure("cancelled", "Nobody waits for the item."))

    def _kill(self, task: Task, why: str) -> None:
        """The worker stays busy in the books until it is gone."""
        assert task.worker is not None
        log.warning("%s is ended in the middle of job %d: %s", task.worker, task.decode.job, why)
        self.count["worker_kills"] += 1
        task.doomed = True
        self._shell.kill(task.worker)

    def _later(self, seconds: float, step: Callable[[Task], None], task: Task) -> TimerHandle:
        return self._shell.later(seconds, lambda: step(task))

    def _stop_timer(self, task: Task) -> None:
        self._began.pop(task, None)
        if (timer := self._timers.pop(task, None)) is not None:
            timer.cancel()
