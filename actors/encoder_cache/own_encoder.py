"""The encoder of this process: what waits is copied, encoded and put into the store, batch by batch
on one thread, while the loop goes on and gives others what waits beside it."""

import asyncio
import time
from functools import partial

import torch

from ...gpu_runtime.models.encoding import Encodes, Tensors, Views, copy_all, encode
from ...protocol.errors import Failure
from ...protocol.memory.blobs import BlobError
from ...protocol.memory.shortage import shortage
from ...protocol.requests.prepared import Timing
from ..kernel.cores import Cores
from .batching import Job, RowPace
from .dealer import Dealer
from .entries import StoreEffect
from .hands import EncodingHands
from .store import Store

COPIED_INLINE = 1 << 20
"""Bytes of features that are copied in the loop (0.1 ms): to wake a thread takes longer."""


class OwnEncoder:
    """Belongs to the loop, but for `encoder`, which is its thread's."""

    def __init__(
        self,
        encoder: Encodes,
        cores: Cores,
        width: int,
        dtype: torch.dtype,
        store: Store,
        dealer: Dealer,
        pace: RowPace,
        hands: EncodingHands,
    ) -> None:
        """`width` and `dtype`: of the embeddings, [rows, width]."""
        self._encoder, self._cores = encoder, cores
        self._width, self._dtype = width, dtype
        self._store, self._dealer, self._pace, self._hands = store, dealer, pace, hands
        self._work = asyncio.Event()
        """Set when the queue may have something to encode."""
        self._encoding = False
        """It has a batch, from its first copy until all of it is encoded."""
        self.batches = 0
        """Encoded since the start."""

    def wake(self) -> None:
        """The queue may have something to encode."""
        self._work.set()
        self._deal()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._work.wait()
            queue = self._store.queue()
            if queue:
                await self._encode(self._dealer.next_here(queue))
            else:
                self._cores.rest()
                self._work.clear()

    def _deal(self) -> None:
        """Only beside what is encoded here, which saves a copy."""
        if self._encoding:
            self._dealer.deal()

    async def _encode(self, batch: list[Job]) -> None:
        start = time.monotonic()
        self._encoding = True
        items = await self._read(batch)
        if not items:
            self._encoding = False
            return
        jobs = [job for job, _ in items]
        kind = jobs[0].features
        began = time.monotonic()
        shapes = [(job.rows, self._width) for job in jobs]
        features = [tensors for _, tensors in items]
        work = partial(
            encode, self._encoder, kind.modality, features, shapes, self._dtype, kind.ready
        )
        results = await self._hands.compute(work)
        self._encoding = False  # what is told now of these must not give others what is next here
        rows = sum(job.rows for job in jobs)
        made = "taken" if kind.ready else "encoded"
        ended = time.monotonic()
        timing = Timing(
            "encode", start, ended, f"{kind.modality}, {rows} rows {made} in a batch of {len(jobs)}"
        )
        if not kind.ready:
            self.batches += 1
            self._pace.learn(kind.modality, rows, ended - began)
        for job, result in zip(jobs, results, strict=True):
            self._dealer.workers.clear(job.key)
            self._hands.keep(job, result, timing)

    async def _read(self, batch: list[Job]) -> list[tuple[Job, Tensors]]:
        """Copy the items' features and end the leases; what cannot be read is lost."""
        for job in batch:
            self._store.begin(job.key)
        self._deal()  # the rest
        readable = [(job, views) for job in batch if (views := self._views(job)) is not None]
        all_views = [views for _, views in readable]
        if sum(ref.nbytes for views in all_views for ref, _ in views.values()) <= COPIED_INLINE:
            copies = copy_all(all_views)
        else:
            copies = await self._hands.compute(partial(copy_all, all_views))
        kept: list[tuple[Job, Tensors]] = []
        for (job, _), tensors in zip(readable, copies, strict=True):
            intact, effects = self._store.copied(job)
            self._hands.apply(effects)
            if intact:
                self._hands.apply(self._store.read(job.key))
                kept.append((job, tensors))
        return kept

    def _views(self, job: Job) -> Views | None:
        """Mapped here and copied elsewhere: a map in use outlives `forget`. None: it cannot be, and
        who waits for the item has been told."""
        try:
            return {
                name: (ref, self._hands.reader.view(ref))
                for name, ref in job.features.tensors.items()
            }
        except BlobError as error:
            short = shortage(error)
            lost = self._store.lost(job.key) if short is None else self._unread(job, short)
            self._hands.apply(lost)
            return None

    def _unread(self, job: Job, failure: Failure) -> list[StoreEffect]:
        """Its features cannot be mapped: made again, they could not be mapped either."""
        intact, effects = self._store.copied(job)
        if not intact:
            return effects
        return self._store.read(job.key) + self._store.failed(job.key, failure)
