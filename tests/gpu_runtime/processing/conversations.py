"""A conversation with two items of a modality, and what stands around them, as the checkpoint's own
processor sees it whole.

The oracle is transformers: its processor is given the whole conversation with its media, and its
model the whole prompt.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from thespis.gpu_runtime.inspection import hf
from thespis.gpu_runtime.processing import Clip, ProcessedItem, Processor
from thespis.gpu_runtime.processing.calls import metadata_of
from thespis.gpu_runtime.processing.loading import load_processor
from thespis.protocol.facts import PlaceholderFacts
from thespis.protocol.requests.request import Modality

RATE = 16000
SIZES = ((97, 131), (60, 45), (131, 64))
CLIPS = ((4, 60, 56), (4, 97, 70), (7, 64, 97))
SOUNDS = (RATE, 41234)
COUNTED = {"image_token_pooling": "pixel_values"}
"""Tensors that are numbers of patches, and the tensor of those patches."""


def picture(height: int, width: int) -> Image.Image:
    noise = np.random.default_rng(height * width).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )
    return Image.fromarray(noise)


def clip(frames: int, height: int, width: int) -> Clip:
    """Every tenth frame of a source with twenty a second."""
    noise = np.random.default_rng(frames * height).integers(
        0, 256, (frames, height, width, 3), dtype=np.uint8
    )
    return Clip(noise, 20.0, tuple(range(0, frames * 10, 10)), frames * 10)


def sound(length: int) -> NDArray[np.float32]:
    return (np.random.default_rng(length).standard_normal(length) * 0.1).astype(np.float32)


def media_of(modality: str) -> list[Any]:
    """Of different sizes; two neighbours stand in one prompt. The last clip is longer than the
    others."""
    match modality:
        case "image":
            return [picture(*size) for size in SIZES]
        case "video":
            return [clip(*size) for size in CLIPS]
        case _:
            return [sound(length) for length in SOUNDS]


def extent_of(media: Any) -> Any:
    """What `Processor.size` is asked of."""
    if isinstance(media, Clip):
        return media.frames.shape[:3]
    return (media.height, media.width) if isinstance(media, Image.Image) else len(media)


class Whole(NamedTuple):
    """What transformers makes of a whole prompt."""

    token_ids: list[int]
    features: dict[str, Any]
    positions: NDArray[np.int64] | None
    """[planes, tokens]; None: the model counts one by one."""


class Oracle:
    """One checkpoint's processor and model (without weights), by transformers."""

    def __init__(self, folder: Path) -> None:
        config = hf.load_config(folder)
        self.processor: Any = load_processor(folder, config)
        self.tokenizer: Any = self.processor.tokenizer
        model = hf.build_on_meta(config)
        self._rope: Any = next(
            (module for module in model.modules() if hasattr(module, "get_rope_index")), None
        )

    def prompt(self, modality: str, count: int = 2) -> str:
        """The rendered conversation: text, an item, text, an item, text, and an answer that
        begins."""
        content: list[dict[str, str]] = [{"type": "text", "text": "Look:\n"}]
        for nth in range(count):
            content += [{"type": modality}, {"type": "text", "text": f"\nand {nth} "}]
        owner = self.processor if self.processor.chat_template else self.tokenizer
        text: str = owner.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        return text

    def whole(self, modality: str, prompt: str, media: Sequence[Any]) -> Whole:
        """The processor's answer to all at once, media nested as `apply_chat_template` hands them
        over."""
        given: dict[str, Any]
        match modality:
            case "image":
                given = {"images": [list(media)]}
            case "video":
                metadata = [metadata_of(one) for one in media]
                given = {
                    "videos": [[one.frames for one in media]],
                    "videos_kwargs": {"video_metadata": metadata, "do_sample_frames": False},
                }
            case _:
                given = {"audio": list(media), "audio_kwargs": {"sampling_rate": RATE}}
        return self._made(prompt, given, False)

    def heard(
        self, prompt: str, clips: Sequence[Clip], sounds: Sequence[NDArray[np.float32]]
    ) -> Whole:
        """`whole` of clips at one frame a second, each with its own sound."""
        seen = {
            "video_metadata": [metadata_of(one) for one in clips],
            "do_sample_frames": False,
            "fps": 1.0,
        }
        given = {
            "videos": [one.frames for one in clips],
            "audio": list(sounds),
            "audio_from_video_indices": list(range(len(clips))),
            "load_audio_from_video": True,
            "videos_kwargs": seen,
            "audio_kwargs": {"sampling_rate": RATE},
        }
        return self._made(prompt, given, True)

    def _made(self, prompt: str, given: dict[str, Any], heard: bool) -> Whole:
        frame = (
            {"add_special_tokens": False} if begins(prompt, self.tokenizer) else {}
        )  # as `apply_chat_template` does
        made = self.processor(text=[prompt], return_tensors="pt", **frame, **given)
        return Whole(made["input_ids"][0].tolist(), dict(made), self._positions(made, heard))

    def _positions(self, made: Any, heard: bool) -> NDArray[np.int64] | None:
        if self._rope is None:
            return None
        rule = self._rope.get_rope_index
        names = rule.__code__.co_varnames[: rule.__code__.co_argcount]
        given = {name: made[name] for name in names if name in made}
        if "use_audio_in_video" in names:
            given["use_audio_in_video"] = heard
        if "second_per_grids" in names and "video_second_per_grid" in made:
            given["second_per_grids"] = torch.as_tensor(made["video_second_per_grid"]).float()
        if "audio_seqlens" in names and "feature_attention_mask" in made:
            given["audio_seqlens"] = made["feature_attention_mask"].sum(-1)
        planes: NDArray[np.int64] = rule(**given)[0][:, 0].numpy()
        return planes


def begins(text: str, tokenizer: Any) -> bool:
    """Whether the template has written what the tokenizer writes before a text."""
    return tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)


def splice(
    prompt: str, place: PlaceholderFacts, items: Sequence[ProcessedItem], tokenizer: Any
) -> tuple[list[int], list[tuple[int, int]]]:
    """(token ids, run of each item) of a prompt with each placeholder replaced by its item's
    text."""
    if place.apart:
        return _spliced_apart(prompt, place, items, tokenizer)
    pieces = prompt.split(place.token)
    assert len(pieces) == len(items) + 1
    text, bounds = pieces[0], []
    for nth, (item, piece) in enumerate(zip(items, pieces[1:], strict=True)):
        text += item.number.format(n=nth)
        bounds.append((len(text), len(text) + len(item.text)))
        text += item.text + piece
    made = tokenizer(text, return_offsets_mapping=True)
    counts = iter([count for item in items for count in item.counts])
    rows = {*(part.embed_token_id for item in items for part in item.parts), *place.marks.values()}
    ids: list[int] = []
    at: list[int] = []
    for number, (start, _) in zip(made["input_ids"], made["offset_mapping"], strict=True):
        length = next(counts) if number in rows else 1
        ids += [number] * length
        at += [start] * length
    assert next(counts, None) is None
    inside = [
        [index for index, start in enumerate(at) if low <= start < high] for low, high in bounds
    ]
    return ids, [(run[0], run[-1] + 1) for run in inside]


def _spliced_apart(
    prompt: str, place: PlaceholderFacts, items: Sequence[ProcessedItem], tokenizer: Any
) -> tuple[list[int], list[tuple[int, int]]]:
    """What stands between the items is tokenized piece by piece."""
    ids: list[int] = []
    runs = []
    for nth, item in enumerate(items, 1):
        piece, prompt = prompt.split(place.numbered.format(n=nth))
        ids += tokenizer(piece)["input_ids"]
        assert item.text == place.embed_token
        runs.append((len(ids), len(ids) + item.rows))
        ids += [place.embed_token_id] * item.rows
    return ids + tokenizer(prompt)["input_ids"], runs


def compose(
    length: int, runs: Sequence[tuple[int, int]], items: Sequence[ProcessedItem], planes: int
) -> NDArray[np.int64]:
    """Positions of a whole prompt: text one by one, each item's planes from where it begins."""
    out = np.zeros((planes, length), np.int64)
    at = base = 0
    for nth, ((start, end), item) in enumerate(zip(runs, items, strict=True)):
        out[:, at:start] = np.arange(base, base + start - at)
        base += start - at
        values = np.arange(end - start) if item.planes is None else item.planes
        anchors = np.zeros_like(values) if item.anchors is None else item.anchors
        out[:, start:end] = values + np.choose(anchors, [base, 0, nth])
        base += item.advance
        at = end
    out[:, at:] = np.arange(base, base + length - at)
    return out


def check_features(items: Sequence[ProcessedItem], whole: Whole) -> None:
    """What a batch holds of each item, less the padding to its longest, is what the item has."""
    for name in set[str]().union(*(item.parts[0].tensors for item in items)) - {
        "marks",
        "siblings",
    }:  # none of the processor's
        each = [tensors[name] for item in items if name in (tensors := item.parts[0].tensors)]
        together = np.asarray(
            whole.features[name].float()
            if whole.features[name].is_floating_point()
            else whole.features[name]
        )
        if name == "batch_num_images":
            assert all(alone.tolist() == together.tolist() for alone in each)
            continue
        axis = next(
            axis
            for axis in (0, 1, together.ndim - 1)
            if sum(alone.shape[axis] for alone in each) == together.shape[axis]
        )
        ends = np.cumsum([alone.shape[axis] for alone in each])
        for nth, (alone, shared) in enumerate(
            zip(each, np.split(together, ends[:-1], axis), strict=True)
        ):
            if name in COUNTED:  # in a batch, from the first item's patches on
                before = sum(
                    item.parts[0].tensors[COUNTED[name]][..., 0].size for item in items[:nth]
                )
                shared = np.where(shared < 0, shared, shared - before)
            assert _same(name, shared[tuple(slice(0, length) for length in alone.shape)], alone), (
                name
            )


def _same(name: str, shared: NDArray[Any], alone: NDArray[Any]) -> bool:
    """Where sounds are padded to the longest, the last frame of a shorter one sees it."""
    if np.array_equal(shared, alone):
        return True
    return name == "input_features" and any(
        np.array_equal(np.delete(shared, -1, axis), np.delete(alone, -1, axis)) for axis in (1, 2)
    )


def check_conversation(
    ours: Processor, oracle: Oracle, modality: Modality, media: Sequence[Any]
) -> None:
    """Items one by one, spliced into a conversation, against the conversation whole: token ids,
    features, positions."""
    placeholder = ours.placeholders()[modality]
    prompt = oracle.prompt(modality, len(media))
    assert prompt.count(placeholder.text) == len(media)
    whole = oracle.whole(modality, prompt, media)
    items = [ours.item(modality, one, {}, siblings=len(media) > 1) for one in media]
    tokenizer = partial(oracle.tokenizer, add_special_tokens=not begins(prompt, oracle.tokenizer))
    ids, runs = splice(prompt, placeholder, items, tokenizer)
    assert ids == whole.token_ids
    assert all(len(item.parts) == 1 and item.rows == sum(item.counts) for item in items)
    assert {item.parts[0].embed_token_id for item in items} == {placeholder.embed_token_id}
    check_features(items, whole)
    for one, item, (start, end) in zip(media, items, runs, strict=True):
        cost = ours.size(modality, extent_of(one), {}, siblings=len(media) > 1)
        assert cost is None or item.rows <= cost <= end - start
    if whole.positions is None:
        assert all(item.planes is None for item in items)
    else:
        assert np.array_equal(compose(len(ids), runs, items, len(whole.positions)), whole.positions)
