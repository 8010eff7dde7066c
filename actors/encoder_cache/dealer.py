"""Between the books and the encode workers: they get what waits while something is encoded here,
and what they made is kept as if it had been made here.

Features stay leased until a worker has answered, so what one died with needs nobody else to be
encoded again.
"""

from collections.abc import Sequence

import torch

from ...gpu_runtime.models.encoding import copy
from ...protocol.edges.encode_worker_to_encoder_cache import BatchEncoded, Copied, EncodedItem
from ...protocol.edges.encoder_cache_to_encode_worker import (
    EmbeddingsTaken,
    Encode,
    ItemToEncode,
    Proceed,
)
from ...protocol.errors import Failure
from ...protocol.memory.blobs import BlobError
from ...protocol.requests.prepared import Timing
from .batching import Job, RowPace, choose, part
from .entries import StoreEffect
from .hands import EncodingHands
from .store import Store
from .workers import Workers


class Dealer:
    """Belongs to the loop."""

    def __init__(self, epoch: int, store: Store, pace: RowPace, hands: EncodingHands) -> None:
        """`epoch`: of this encoder-cache."""
        self.workers = Workers(epoch)
        self._store, self._pace, self._hands = store, pace, hands
        self.batches = 0
        """Encoded by workers since the start."""

    def next_here(self, queue: Sequence[Job]) -> list[Job]:
        """What the encoder-cache encodes itself: as much less as others can take."""
        return self._choose(queue, 1 + len(self.workers.resting))

    def deal(self) -> None:
        """Whoever rests gets something of what waits."""
        while resting := self.workers.resting:
            queue = [job for job in self._store.queue() if self.workers.may_have(job)]
            if not queue:
                return
            batch = self._choose(queue, len(resting))
            for job in batch:
                self._store.begin(job.key)
            items = tuple(ItemToEncode(job.rows, job.features.tensors) for job in batch)
            number = self.workers.give(resting[0], batch)
            # Where it has just died, the news of that brings the items back.
            self._hands.send(resting[0], Encode(number, batch[0].features.modality, items))

    def hear(self, role: str, message: Copied | BatchEncoded) -> None:
        """What this worker says."""
        match message:
            case Copied(number):
                self._proceed(role, number)
            case BatchEncoded():
                self._take(role, message)

    def worker_gone(self, role: str) -> bool:
        """What it had is encoded here, of the same features; whether it had something.
        Idempotent."""
        jobs = self.workers.gone(role)
        for job in reversed(jobs):  # each goes before what waits
            self._hands.apply(self._store.again(job.key))
        return bool(jobs)

    def _choose(self, queue: Sequence[Job], encoders: int) -> list[Job]:
        most = self._pace.rows(queue[0].features.modality)
        return choose(queue, min(most, part(queue, encoders)))

    def _proceed(self, role: str, number: int) -> None:
        void: list[StoreEffect] = []

        def intact(job: Job) -> bool:
            whole, effects = self._store.copied(job)
            void.extend(effects)
            return whole

        places = self.workers.keep_only(role, number, intact)
        answer = EmbeddingsTaken(number) if places is None else Proceed(number, places)
        self._hands.send(role, answer)
        self._hands.apply(void)

    def _take(self, role: str, message: BatchEncoded) -> None:
        jobs = self.workers.answered(role, message.number) or ()
        rows = sum(job.rows for job in jobs)
        for job, item in zip(jobs, message.items, strict=bool(jobs)):
            detail = f"{job.features.modality}, {rows} rows encoded in a batch of {len(jobs)}"
            timing = Timing("encode", message.began, message.ended, f"{detail} by {role}")
            self._take_item(job, item, timing)
        if jobs:
            self.batches += 1
            self._pace.learn(jobs[0].features.modality, rows, message.ended - message.began)
        self._hands.send(role, EmbeddingsTaken(message.number))

    def _take_item(self, job: Job, item: EncodedItem, timing: Timing) -> None:
        result: torch.Tensor | Failure | None = item.failure
        if item.blob is not None:
            try:
                view = self._hands.reader.view(item.blob)
            except BlobError:  # it has died since
                self.workers.suspect(job)
                self._hands.apply(self._store.again(job.key))
                return
            result = copy({"rows": (item.blob, view)})["rows"]
        self._hands.apply(self._store.read(job.key))
        if result is None:
            self._hands.apply(self._store.lost(job.key))
        else:
            self._hands.keep(job, result, timing)
