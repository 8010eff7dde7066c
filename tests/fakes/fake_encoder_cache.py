"""An encoder-cache without an encoder: every item is there at once, as zeros."""

from collections import Counter
from typing import Any

import msgspec

from thespis.actors.kernel.blocking import BlockingActor
from thespis.actors.kernel.launch import Launch
from thespis.protocol.config.roles import EncoderCacheConfig
from thespis.protocol.edges.encoder_cache_to_preprocessor import FeaturesRead
from thespis.protocol.edges.encoder_cache_to_scheduler import EmbeddingReady
from thespis.protocol.edges.preprocessor_to_encoder_cache import Features
from thespis.protocol.edges.scheduler_to_encoder_cache import Need, Release
from thespis.protocol.memory.blobs import Arena


class FakeEncoderCache(BlockingActor):
    """Answers `Need` with `EmbeddingReady`, and gives features back unread. One block of zeros
    serves all items of a size."""

    def on_start(self, config: bytes) -> dict[str, int]:
        settings = msgspec.json.decode(config, type=EncoderCacheConfig)
        self._hidden, self._dtype = settings.model.hidden, settings.dtype
        self._arena = Arena(
            self.launch.directory, f"{self.launch.role}.{self.launch.epoch}", 1 << 30
        )
        self._zeros: dict[int, Any] = {}
        self._held: set[str] = set()
        self._counts: Counter[str] = Counter()
        return {}

    def on_stop(self) -> None:
        if hasattr(self, "_arena"):
            self._arena.close()

    def on_message(self, sender: str, message: Any) -> None:
        match message:
            case Features(key=key):
                self._counts["features"] += 1
                self.send("preprocessor", FeaturesRead((key,)))
            case Need(holder, keys, rows):
                self._held.add(holder)
                self._counts["needs"] += 1
                for key, count in zip(keys, rows, strict=True):
                    self.send("scheduler", EmbeddingReady(key, (holder,), self._block(count)))
            case Release(holder):
                self._held.discard(holder)

    def counters(self) -> dict[str, float]:
        return {**self._counts, "holders": len(self._held)}

    def _block(self, rows: int) -> Any:
        if rows not in self._zeros:
            self._zeros[rows], view = self._arena.allocate(self._dtype, (rows, self._hidden))
            view[:] = bytes(view.nbytes)
        return self._zeros[rows]


def main(launch: Launch) -> None:
    FakeEncoderCache(launch).run()
