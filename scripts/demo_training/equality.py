"""Proves that the fast ways of the training give what transformers gives, before hours are spent on
anything else."""

from typing import Any

import numpy as np
import torch

from .batches import TRAINED_KINDS, UNASKED, Scribe, build_batch
from .evaluation import plain_inputs
from .features import feature_extractor, image_processor
from .samples import draw_sample
from .schedule import random_frame
from .training import answer_logits

TOLERANCE = 1e-4  # on logits; both sides compute in float32, in another order


def verify(network: Any, tokenizer: Any, seed: int) -> float:
    """The largest difference over all kinds between the training's logits and those of
    transformers' own forward."""
    scribe, extractor, images = Scribe(network, tokenizer), feature_extractor(), image_processor()
    rng = np.random.default_rng(seed)
    largest = 0.0
    for kind in TRAINED_KINDS:
        for foreign in (0.0, 1.0):
            sample = draw_sample(rng, kind, random_frame(rng, foreign))
            batch = build_batch(scribe, extractor, [sample])
            with torch.inference_mode():
                ours, _ = answer_logits(network, batch)
                inputs = plain_inputs(sample, images, extractor)
                theirs = network(
                    input_ids=batch.ids, attention_mask=torch.ones_like(batch.ids), **inputs
                ).logits
            largest = max(largest, float((theirs[batch.labels != UNASKED] - ours).abs().max()))
    if largest > TOLERANCE:
        raise AssertionError(f"the training's forward differs from transformers' by {largest:.2g}")
    return largest
