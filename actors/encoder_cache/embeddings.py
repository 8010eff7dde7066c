"""The embeddings' bytes: the arena that the books have the room of."""

from pathlib import Path

import torch

from ...gpu_runtime.models.encoding import bytes_of
from ...protocol.errors import Failure
from ...protocol.memory.blobs import Arena, BlobRef, arena_limit
from ...protocol.memory.shortage import NO_SPACE, SpaceError, shortage
from .store import Store


class EmbeddingArena:
    """Belongs to the loop."""

    def __init__(self, run_dir: Path, writer: str, limit: int, dtype: str, store: Store) -> None:
        """`limit`: bytes of what the books count."""
        self._arena = Arena(run_dir, writer, arena_limit(limit))
        self._dtype, self._store = dtype, store

    @property
    def bytes_used(self) -> int:
        return self._arena.used

    def allocate(self, shape: tuple[int, int]) -> tuple[BlobRef, memoryview] | Failure:
        """Room for [rows, embed_width], for which the books have room."""
        while True:
            try:
                return self._arena.allocate(self._dtype, shape)
            except SpaceError as error:  # the books say it fits: the space is in fragments
                spare = self._store.evict_one()
                if spare is None:
                    return shortage(error) or NO_SPACE
                self._arena.free(spare.blob)

    def put(self, embedding: torch.Tensor) -> BlobRef | Failure:
        """[rows, embed_width]"""
        place = self.allocate((embedding.shape[0], embedding.shape[1]))
        if isinstance(place, Failure):
            return place
        blob, view = place
        with view:
            view[:] = bytes_of(embedding)
        return blob

    def free(self, blob: BlobRef) -> None:
        self._arena.free(blob)

    def close(self) -> None:
        self._arena.close()
