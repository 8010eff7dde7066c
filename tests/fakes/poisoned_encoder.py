"""The real encoder-cache and encode workers, with one thing that they die of: a picture that is
white all over."""

import os

import torch

from thespis.actors.encode_worker.actor import EncodeWorker
from thespis.actors.encoder_cache.actor import EncoderCache
from thespis.actors.kernel.actor import run
from thespis.actors.kernel.launch import Launch
from thespis.gpu_runtime.models.encoding import Encodes, Tensors
from thespis.protocol.config.roles import EncoderCacheConfig
from thespis.protocol.topology import ENCODER_CACHE


class PoisonedEncoder:
    def __init__(self, encoder: Encodes) -> None:
        self._encoder = encoder

    def encode(self, kind: str, items: list[Tensors], rows: list[int]) -> list[torch.Tensor]:
        if kind == "image" and any(float(item["pixel_values"].min()) > 0.9 for item in items):
            os.abort()
        return self._encoder.encode(kind, items, rows)


class PoisonedEncoderCache(EncoderCache):
    def load(self, config: EncoderCacheConfig) -> Encodes:
        return PoisonedEncoder(super().load(config))


class PoisonedEncodeWorker(EncodeWorker):
    def load(self, config: EncoderCacheConfig) -> Encodes:
        return PoisonedEncoder(super().load(config))


def main(launch: Launch) -> None:
    if launch.role == ENCODER_CACHE:
        run(PoisonedEncoderCache(launch))
    else:
        PoisonedEncodeWorker(launch).run()
