"""The real encoder-cache, with one thing that it dies of: a picture that is white all over."""

import os

import torch

from thespis.actors.encoder_cache.actor import EncoderCache
from thespis.actors.encoder_cache.compute import Encoder, Tensors
from thespis.actors.kernel.actor import run
from thespis.actors.kernel.launch import Launch
from thespis.protocol.config.roles import EncoderCacheConfig


class PoisonedEncoder:
    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def encode(self, kind: str, items: list[Tensors], rows: list[int]) -> list[torch.Tensor]:
        if kind == "image" and any(float(item["pixel_values"].min()) > 0.9 for item in items):
            os.abort()
        return self._encoder.encode(kind, items, rows)


class PoisonedEncoderCache(EncoderCache):
    def load(self, config: EncoderCacheConfig) -> Encoder:
        return PoisonedEncoder(super().load(config))


def main(launch: Launch) -> None:
    run(PoisonedEncoderCache(launch))
