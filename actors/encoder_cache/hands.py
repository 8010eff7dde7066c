"""What those who have items encoded, here or elsewhere, ask of the process around them."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, TypeVar

import torch

from ...protocol.edges.encoder_cache_to_encode_worker import EncoderCacheToEncodeWorker
from ...protocol.errors import Failure
from ...protocol.memory.blobs import BlobReader
from ...protocol.requests.prepared import Timing
from .batching import Job
from .entries import StoreEffect

T = TypeVar("T")


class EncodingHands(Protocol):
    reader: BlobReader

    def apply(self, effects: Iterable[StoreEffect]) -> None:
        """What the books say."""

    def keep(self, job: Job, result: torch.Tensor | Failure, timing: Timing) -> None:
        """What an item has become: its embedding, [rows, embed_width], or why there is none."""

    def compute(self, work: Callable[[], T]) -> Awaitable[T]:
        """In the one thread that encodes."""

    def send(self, name: str, message: EncoderCacheToEncodeWorker) -> bool:
        """To an encode worker. False: it is gone, of which the news comes too."""
        ...
