"""The real encoder-cache, whose encoder takes a moment over every batch."""

import time

import torch

from thespis.actors.encoder_cache.actor import EncoderCache
from thespis.actors.kernel.actor import run
from thespis.actors.kernel.launch import Launch
from thespis.gpu_runtime.models.encoding import Encodes, Tensors
from thespis.protocol.config.roles import EncoderCacheConfig

SECONDS = 2.0


class HoldingEncoder:
    def __init__(self, encoder: Encodes) -> None:
        self._encoder = encoder

    def encode(self, kind: str, items: list[Tensors], rows: list[int]) -> list[torch.Tensor]:
        time.sleep(SECONDS)
        return self._encoder.encode(kind, items, rows)


class HoldingEncoderCache(EncoderCache):
    def load(self, config: EncoderCacheConfig) -> Encodes:
        return HoldingEncoder(super().load(config))


def main(launch: Launch) -> None:
    run(HoldingEncoderCache(launch))
