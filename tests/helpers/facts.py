"""The facts of checkpoints that tests use. The bundled model's are written down, for tests that
need no torch."""

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

import msgspec

from thespis.protocol.checkpoint.folder import demo_model, inspect
from thespis.protocol.facts import KvGroup, ModelFacts, PlaceholderFacts
from thespis.protocol.pixels import PixelForm

FORKED = {"decode-worker", "encoder-cache", "gpu-runner"}
"""Roles that need what the facts process needs, too."""


def _placeholder(token: str, mark: str, id: int) -> PlaceholderFacts:
    return PlaceholderFacts(
        token=token,
        text=f"<|{mark}_bos|>{token}<|{mark}_eos|>",
        embed_token=token,
        embed_token_id=id,
    )


def _pixels(name: str, repeats: int) -> PixelForm:
    return PixelForm(name, -1, "planes", (127.5,) * 3, (127.5,) * 3, repeats)


_PIXELS = ("max_pixels", "min_pixels")
_FRAMES = (
    "do_sample_frames",
    "fps",
    "max_frames",
    "max_pixels",
    "min_frames",
    "min_pixels",
    "num_frames",
)

DEMO = ModelFacts(
    path=inspect(demo_model()).path,
    model_type="qwen2_5_omni_thinker",
    architecture="Qwen2_5OmniThinkerForConditionalGeneration",
    layers=4,
    hidden=128,
    vocab=478,
    context=4096,
    kv_groups=(KvGroup(layers=(0, 1, 2, 3), kv_heads=2, key_dim=32, value_dim=32),),
    position_planes=3,
    placeholders={
        "image": _placeholder("<|IMAGE|>", "vision", 475),
        "video": _placeholder("<|VIDEO|>", "vision", 476),
        "audio": _placeholder("<|AUDIO|>", "audio", 477),
    },
    media_options={"image": _PIXELS, "video": _FRAMES, "audio": ()},
    pixel_ranges={"image": (6800, 9500), "video": (6800, 9500)},
    pixels={"image": _pixels("pixel_values", 2), "video": _pixels("pixel_values_videos", 1)},
    hears_clips=True,
    eos_token_ids=(468,),
    dtype="float32",
    parameters=1_797_216,
    held_parameters=847_616,
    fingerprint=inspect(demo_model()).fingerprint,
)


@lru_cache(maxsize=64)
def _found(folder: str, fingerprint: str) -> ModelFacts:
    from thespis.gpu_runtime.facts.model import model_facts

    return model_facts(folder)


def facts_of(folder: str | Path) -> ModelFacts:
    """Found once for each state of a folder."""
    checkpoint = inspect(folder)
    return msgspec.structs.replace(
        _found(str(folder), checkpoint.fingerprint), path=checkpoint.path
    )


def known_facts(model: str, replaced: Collection[str] | None) -> ModelFacts | None:
    """For an engine in which fakes play all that needs torch, so that it starts at once; None: the
    engine finds them out."""
    if not set(replaced or ()) >= FORKED:
        return None
    return facts_of(model) if model else DEMO
