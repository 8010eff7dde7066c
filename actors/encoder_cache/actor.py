"""The encoder-cache's shell: messages in, messages out.

They are handled in the loop while one thread encodes (`own_encoder`), and encode workers beside it
(`dealer`). The books (`store`) decide, this file does: it writes embeddings into the arena and
sends the answers.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec
import torch

from ...gpu_runtime.models.encoder import encoder_of
from ...gpu_runtime.models.encoding import Encodes, bytes_of
from ...protocol.config.roles import EncoderCacheConfig, Threads
from ...protocol.edges.client_to_encoder_cache import Pin, Unpin
from ...protocol.edges.control import Cache, Excuse, Gone, Peer
from ...protocol.edges.encode_worker_to_encoder_cache import BatchEncoded, Copied
from ...protocol.edges.encoder_cache_to_client import Pinned
from ...protocol.edges.encoder_cache_to_preprocessor import (
    FeaturesRead,
    FeaturesWanted,
    Recalled,
    RecalledId,
)
from ...protocol.edges.preprocessor_to_encoder_cache import (
    Features,
    FeaturesGone,
    Kept,
    Recall,
    RecallId,
    RememberId,
)
from ...protocol.edges.scheduler_to_encoder_cache import Need, Release
from ...protocol.edges.view import Seen
from ...protocol.errors import Failure
from ...protocol.memory.blobs import BlobReader
from ...protocol.refusals import NO_FOLDER
from ...protocol.requests.prepared import Timing
from ...protocol.topology import (
    CLIENT,
    ENCODE_WORKER,
    ENCODER_CACHE,
    PREPROCESSOR,
    SCHEDULER,
    kind_of,
)
from ..kernel.actor import Actor, run
from ..kernel.cores import Cores
from ..kernel.launch import Launch
from ..kernel.tombstones import Tombstones
from .batching import Job, RowPace
from .dealer import Dealer
from .disk.fingerprint import fingerprint
from .disk.tier import Tier
from .embeddings import EmbeddingArena
from .entries import FreeEmbedding, ReadKept, StoreEffect
from .kept_store import KeptStore
from .own_encoder import OwnEncoder
from .recaller import Recaller

T = TypeVar("T")
READERS = 4
"""Threads that wait for a disk."""
FEATURES_BYTES = 2 << 30
"""Features that may wait here for a `Need`; they lie in the decode workers' arenas."""
WATCH_SECONDS = 0.5


class EncoderCache(Actor):
    store: KeptStore
    config: EncoderCacheConfig
    encoder: Encodes
    embeddings: EmbeddingArena
    dealer: Dealer
    """To those who encode beside it."""
    own: OwnEncoder

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self.reader = BlobReader(launch.directory)
        self.recaller: Recaller | None = None
        """None: nothing is kept on disk."""
        self.cores = Cores(launch.directory, ENCODER_CACHE, Threads(1, 1, 1))
        """Until it is known how many threads there are."""
        self._thread, self._readers = anyio.CapacityLimiter(1), anyio.CapacityLimiter(READERS)
        self._watching = False
        self._over = Tombstones()
        self._encoded_items = 0

    def load(self, config: EncoderCacheConfig) -> Encodes:
        """Tests put their own encoder here."""
        return encoder_of(config, config.device, self._share_cores)

    def _share_cores(self) -> None:
        """Part by part, on the thread that encodes: a large picture takes seconds."""
        if (threads := self.cores.again()) is not None:
            torch.set_num_threads(threads)

    async def on_start(self, config: bytes) -> dict[str, int]:
        self.config = msgspec.json.decode(config, type=EncoderCacheConfig)
        threads, sharing = self.config.threads, self.config.sharing
        self.cores.close()
        self.cores = Cores(self.launch.directory, ENCODER_CACHE, threads, sharing)
        self.encoder = self.load(self.config)
        pace = RowPace(self.config.max_batch_rows)
        dtype: torch.dtype = getattr(torch, self.config.dtype)
        width = self.config.model.embed_width
        # What may have killed the predecessor is encoded when it is asked for, and not beside an
        # item that is tried alone.
        ahead = self.launch.outside
        tier = self._open_tier()
        row_bytes = width * dtype.itemsize
        self.store = KeptStore(self.config.store_bytes, row_bytes, FEATURES_BYTES, ahead)
        writer = f"{self.launch.role}.{self.launch.epoch}"
        self.embeddings = EmbeddingArena(
            self.launch.directory, writer, self.config.store_bytes, self.config.dtype, self.store
        )
        self.dealer = Dealer(self.launch.epoch, self.store, pace, self)
        self.own = OwnEncoder(
            self.encoder, self.cores, width, dtype, self.store, self.dealer, pace, self
        )
        if tier is not None:
            self.store.kept = tier.knows
            self.recaller = Recaller(tier, self.store, self.embeddings, self)
        self.tasks.start_soon(self.own.run)
        return {}

    def _open_tier(self) -> Tier | None:
        """Raises EngineError where its folder cannot be used."""
        if self.config.disk is None:
            return None
        mark = fingerprint(self.config, getattr(self.encoder, "weights", ""))
        tier = Tier(self.config.disk, self.config.model, self.config.dtype, mark)
        tier.open()
        return tier

    async def on_stop(self) -> None:
        if self.recaller is not None:
            await anyio.to_thread.run_sync(self.recaller.tier.close)
        self.reader.close()
        self.cores.close()
        if hasattr(self, "embeddings"):  # else it has not begun
            self.embeddings.close()

    def on_message(self, sender: str, message: Any) -> None:
        match message:
            case Need():
                self.apply(self.store.need(message, time.monotonic()))
            case Release(holder, keys):
                self.apply(self.store.release(holder, keys))
            case FeaturesGone(keys):
                self.apply(self.store.gone(keys))
            case Features(request, client) if request in self._over or self.peers.departed(client):
                self.send(PREPROCESSOR, FeaturesRead((message.key,)))
            case Features():
                self.apply(self.store.features(message))
            case Recall() if self.recaller is not None:
                self.recaller.recall(message)
            case Recall():
                self.answer(Recalled(message.key, None))
            case RememberId(name, digest):
                if self.recaller is not None:
                    self.recaller.tier.keep_id(name, digest)
            case RecallId() if self.recaller is not None:
                self.recaller.recall_id(message)
            case RecallId():
                self.answer(RecalledId(message.name, None))
            case Pin() | Unpin():
                self._pin(message)
            case Copied() | BatchEncoded():
                self.dealer.hear(sender, message)
                self.own.wake()

    def _pin(self, message: Pin | Unpin) -> None:
        def answer(failure: Failure | None) -> None:
            self.send(message.client, Pinned(message.id, failure))

        if self.recaller is None:
            answer(NO_FOLDER if isinstance(message, Pin) else None)
            return
        call = asyncio.get_running_loop().call_soon_threadsafe
        self.recaller.tier.ask(message, lambda failure: call(self._guard, partial(answer, failure)))

    def on_end(self, ids: tuple[str, ...]) -> None:
        """What the scheduler asked for in their name it gives back itself."""
        self._over.add(ids)
        self.apply(self.store.over(set(ids)))

    def on_reset(self, cache: Cache, number: int) -> None:
        if cache == "media":
            self.apply(self.store.reset())
            if self.recaller is not None:
                self.recaller.tier.empty()

    def on_peer(self, role: str, peer: Peer) -> None:
        if role == PREPROCESSOR:
            self.apply(self.store.source(True))
        elif kind_of(role) == ENCODE_WORKER:
            self.dealer.worker_gone(role)  # the news of its predecessor's death may come later
            self.dealer.workers.joined(role)
            self.own.wake()

    def on_gone(self, gone: Gone) -> None:
        role, writer = gone.role, gone.incarnation
        self.reader.forget(writer)
        if role == SCHEDULER:
            self.apply(self.store.release_all())
        elif kind_of(role) == CLIENT:
            self.apply(self.store.unlease(lambda features: features.client == writer))
        elif role == PREPROCESSOR:
            self.apply(self.store.source(False))
            if PREPROCESSOR in self.peers:  # its successor was faster than the news of its death
                self.apply(self.store.source(True))
        elif kind_of(role) == ENCODE_WORKER and role not in self.peers:
            had = self.dealer.worker_gone(role)
            if had and not gone.outside:
                # What it had is judged by what it does here.
                self.link.send(Excuse(role, (gone.epoch,)))
        self.apply(self.store.unlease(partial(self._is_by, writer)))

    def _is_by(self, writer: str, features: Features) -> bool:
        refs = features.tensors.values()
        return any(self.reader.written_by(writer, ref.segment) for ref in refs)

    def counters(self) -> dict[str, float]:
        store = self.store
        return {
            "encoded_items": self._encoded_items,
            "encoded_batches": self.own.batches + self.dealer.batches,
            "encoder_hits": store.hits,
            "joined": store.joined,
            "evicted": store.evicted,
            "bytes_used": store.bytes_used,
            "lost": store.lost_count,
            "failed": store.failed_count,
            "encode_workers": self.dealer.workers.count,
            "encode_workers_busy": self.dealer.workers.busy,
            **store.gauges(),
            **({} if self.recaller is None else self.recaller.tier.counters()),
        }

    def seen(self) -> Seen:
        return self.store.seen()

    def apply(self, effects: Iterable[StoreEffect]) -> None:
        for effect in effects:
            match effect:
                case FreeEmbedding(blob):
                    self.embeddings.free(blob)
                case ReadKept():
                    assert self.recaller is not None
                    self.recaller.read(effect)
                case FeaturesRead() | FeaturesWanted():
                    self.send(PREPROCESSOR, effect)
                case _:
                    self.send(SCHEDULER, effect)
        self.own.wake()
        if self.store.waiting_for_features and not self._watching:
            self._watching = True
            asyncio.get_running_loop().call_later(WATCH_SECONDS, self._guard, self._watch)

    def _watch(self) -> None:
        """Looks again for as long as features are waited for."""
        self._watching = False
        self.apply(self.store.expire(time.monotonic()))

    # hands of those who encode (`EncodingHands`) and of the recaller

    def keep(self, job: Job, result: torch.Tensor | Failure, timing: Timing) -> None:
        blob = self.embeddings.put(result) if isinstance(result, torch.Tensor) else result
        if isinstance(blob, Failure):
            self.apply(self.store.failed(job.key, blob))
            return
        self._encoded_items += not job.features.ready
        kept = job.features.kept
        if kept is not None and isinstance(result, torch.Tensor) and self.store.lasting(job.key):
            self._keep_on_disk(job.key, kept, result)
        self.apply(self.store.encoded(job.key, blob, timing))

    def _keep_on_disk(self, key: str, kept: Kept, rows: torch.Tensor) -> None:
        if self.recaller is not None:
            shape = (rows.shape[0], rows.shape[1])
            self.recaller.tier.keep(key, kept.name, bytes_of(rows), shape, kept.item)

    def answer(self, message: Recalled | RecalledId) -> None:
        self.send(PREPROCESSOR, message)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            await work

        self.tasks.start_soon(run)

    async def compute(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self._thread)

    async def wait(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self._readers)


def main(launch: Launch) -> None:
    run(EncoderCache(launch))
