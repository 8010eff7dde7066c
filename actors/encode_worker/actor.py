"""An encode worker: the towers once more. It encodes what the encoder-cache gives it, and keeps
nothing: what it dies with, the encoder-cache encodes itself."""

import time
from typing import Any

import msgspec
import torch

from ...gpu_runtime.models.encoder import encoder_of
from ...gpu_runtime.models.encoding import Encodes, Tensors, bytes_of, copy, encode
from ...protocol.config.roles import EncoderCacheConfig, Threads
from ...protocol.edges.control import Gone
from ...protocol.edges.encode_worker_to_encoder_cache import BatchEncoded, Copied, EncodedItem
from ...protocol.edges.encoder_cache_to_encode_worker import (
    EmbeddingsTaken,
    Encode,
    ItemToEncode,
    Proceed,
    epoch_of,
)
from ...protocol.errors import Failure
from ...protocol.memory.blobs import Arena, BlobError, BlobReader, BlobRef, arena_limit
from ...protocol.memory.shortage import NO_SPACE, SpaceError, shortage
from ...protocol.topology import ENCODER_CACHE
from ..kernel.blocking import BlockingActor
from ..kernel.cores import Cores
from ..kernel.launch import Launch


class EncodeWorker(BlockingActor):
    config: EncoderCacheConfig
    encoder: Encodes

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self._reader = BlobReader(launch.directory)
        self._arena: Arena | None = None
        self._copied: dict[int, tuple[Encode, list[Tensors | Failure | None]]] = {}
        """By batch: what is to be encoded once it is known to be whole."""
        self._held: dict[int, list[BlobRef]] = {}
        """By batch: embeddings that the encoder-cache may still read."""
        self._cores = Cores(launch.directory, launch.role, Threads(1, 1, 1))
        """Until it is known how many threads there are."""
        self._items = self._batches = 0

    def load(self, config: EncoderCacheConfig) -> Encodes:
        """Tests put their own encoder here."""
        device = config.device
        if device == "cuda":
            number = int(self.launch.role.rpartition("-")[2])
            device = device_of(number, torch.cuda.device_count(), config.ranks)
        return encoder_of(config, device, self._share_cores)

    def on_start(self, config: bytes) -> dict[str, int]:
        self.config = msgspec.json.decode(config, type=EncoderCacheConfig)
        threads, sharing = self.config.threads, self.config.sharing
        self._cores.close()
        self._cores = Cores(self.launch.directory, self.launch.role, threads, sharing)
        self.encoder = self.load(self.config)
        self._dtype: torch.dtype = getattr(torch, self.config.dtype)
        writer = f"{self.launch.role}.{self.launch.epoch}"
        limit = arena_limit(self.config.store_bytes)
        self._arena = Arena(self.launch.directory, writer, limit)
        return {}

    def on_idle(self) -> None:
        self._cores.rest()

    def on_stop(self) -> None:
        if self._arena is not None:
            self._arena.close()
        self._reader.close()
        self._cores.close()

    def on_gone(self, gone: Gone) -> None:
        self._reader.forget(gone.incarnation)
        if gone.role == ENCODER_CACHE:
            for number in [*self._copied, *self._held]:
                if epoch_of(number) <= gone.epoch:
                    self._free(number)

    def on_message(self, sender: str, message: Any) -> None:
        match message:
            case Encode():
                self._copied[message.number] = message, [self._read(one) for one in message.items]
                self.send(ENCODER_CACHE, Copied(message.number))
            case Proceed(number, places):
                if (copied := self._copied.pop(number, None)) is not None:
                    self.send(ENCODER_CACHE, self._encode(*copied, places))
            case EmbeddingsTaken(number):
                self._free(number)

    def counters(self) -> dict[str, float]:
        used = 0 if self._arena is None else self._arena.used
        return {
            "encoded_items": self._items,
            "encoded_batches": self._batches,
            "arena_bytes_used": used,
        }

    def _share_cores(self) -> None:
        """Part by part, as the encoder-cache does."""
        if (threads := self._cores.again()) is not None:
            torch.set_num_threads(threads)

    def _read(self, item: ItemToEncode) -> Tensors | Failure | None:
        """What cannot be read, or why it cannot."""
        try:
            return copy({name: (ref, self._reader.view(ref)) for name, ref in item.tensors.items()})
        except BlobError as error:
            return shortage(error)

    def _encode(
        self, job: Encode, copies: list[Tensors | Failure | None], places: tuple[int, ...]
    ) -> BatchEncoded:
        began = time.monotonic()
        made: dict[int, EncodedItem] = {}
        readable: list[tuple[int, Tensors]] = []
        for place in places:
            one = copies[place]
            if isinstance(one, dict):
                readable.append((place, one))
            else:
                made[place] = EncodedItem(failure=one)
        self._held[job.number] = []
        if readable:
            tensors = [one for _, one in readable]
            width = self.config.model.embed_width
            shapes = [(job.items[place].rows, width) for place, _ in readable]
            results = encode(self.encoder, job.modality, tensors, shapes, self._dtype, False)
            self._batches += 1
            for (place, _), result in zip(readable, results, strict=True):
                made[place] = self._write(job.number, result)
        return BatchEncoded(job.number, tuple(made[at] for at in places), began, time.monotonic())

    def _write(self, number: int, result: torch.Tensor | Failure) -> EncodedItem:
        if isinstance(result, Failure):
            return EncodedItem(failure=result)
        assert self._arena is not None
        try:
            shape = (result.shape[0], result.shape[1])
            blob, view = self._arena.allocate(self.config.dtype, shape)
        except SpaceError as error:
            return EncodedItem(failure=shortage(error) or NO_SPACE)
        with view:
            view[:] = bytes_of(result)
        self._held[number].append(blob)
        self._items += 1
        return EncodedItem(blob=blob)

    def _free(self, number: int) -> None:
        """Idempotent."""
        self._copied.pop(number, None)
        for blob in self._held.pop(number, ()):
            assert self._arena is not None
            self._arena.free(blob)


def device_of(number: int, count: int, ranks: int) -> str:
    """Of the encode worker with this number, from 1 on, where there are `count` GPUs: the
    encoder-cache is on the first, which is the runner's too, and ranks on those that follow. Those
    that are nobody's come next."""
    if count < 2:
        return "cuda"
    order = (0, *range(ranks, count), *range(1, min(ranks, count)))
    return f"cuda:{order[number % count]}"


def main(launch: Launch) -> None:
    EncodeWorker(launch).run()
