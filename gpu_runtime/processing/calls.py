"""The one call of a processor for one item."""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from transformers.video_utils import VideoMetadata

from ...protocol.requests.request import Modality
from .types import Clip, Options

_ARGUMENT = {"image": "images", "video": "videos", "audio": "audio"}
NESTED = {"image": "images_kwargs", "video": "videos_kwargs", "audio": "audio_kwargs"}
"""Under which name a processor's call takes the options of one modality."""
SUB_PROCESSORS = {
    "image": ("image_processor",),
    "video": ("video_processor",),
    "audio": ("feature_extractor", "audio_processor"),
}


_ASKED: dict[str, Any] = {"return_text_replacement_offsets": True, "return_tensors": "pt"}
"""Of every call."""


class Answer(NamedTuple):
    """What a processor made of one item."""

    values: dict[str, Any]
    replacement: str
    """What it put in the place of the placeholder's token."""


def sub_processor(processor: Any, modality: Modality) -> Any:
    """What makes the features of a modality; None: nothing does."""
    parts = (getattr(processor, name, None) for name in SUB_PROCESSORS[modality])
    return next((part for part in parts if part is not None), None)


def takes(part: Any) -> set[str]:
    """Names of the options that a picture or video processor has."""
    return set(getattr(getattr(part, "valid_kwargs", None), "__annotations__", ()))


def call(
    processor: Any,
    modality: Modality,
    media: Any,
    placeholder: str,
    options: Options,
    more: Options,
    rate: int,
    sound: Any = None,
) -> Answer:
    """`placeholder` (token with marks) with the item, whose own `options` they are; `more` goes
    along. Strings never come here: a processor would open them as addresses. `rate`: samples per
    second of sounds."""
    own = dict(options)
    more = dict(more)
    if isinstance(media, Clip):
        own.update(do_sample_frames=False, video_metadata=[metadata_of(media)])
        media = media.frames
    if modality == "audio" or sound is not None:
        more["audio_kwargs"] = {"sampling_rate": rate}
    if sound is not None:
        more.update(audio=[sound], audio_from_video_indices=[0], load_audio_from_video=True)
    key = NESTED[modality]
    more[key] = {**more.get(key, {}), **own}
    given = [[media]] if modality == "image" else [media]
    return _asked(processor, placeholder, {_ARGUMENT[modality]: given, **more})


def image_options(processor: Any, options: Options) -> Options:
    """What the picture processor is called with where `processor` is, with these options of a
    picture."""
    tokenizer = getattr(getattr(processor, "tokenizer", None), "init_kwargs", {})
    merged: Options = processor._merge_kwargs(
        tokenizer_init_kwargs=tokenizer, images_kwargs=dict(options), **_ASKED
    )["images_kwargs"]
    return merged


def call_beside(processor: Any, picture: Any, placeholder: str, options: Options) -> Answer:
    """A picture that is not the prompt's only one: as the first of two, of which the other is as
    small as can be."""
    pair = {"images": [[picture, Image.new("RGB", (2, 2))]], "images_kwargs": dict(options)}
    both, replacement = _asked(processor, placeholder * 2, pair)
    first = {name: value[:1] if len(value) == 2 else value for name, value in both.items()}
    return Answer(first, replacement)


def call_in_pieces(processor: Any, samples: Any, encoder: Any) -> Answer:
    """A sound for a processor that leaves its text to another library: every piece, filled up with
    silence, has the rows that the model makes of it. `encoder`: the configuration of the sound's
    encoder."""
    # [pieces, mel, frames]
    features = processor._retrieve_input_features([samples], **processor.audio_kwargs)
    numbers = len(features) * encoder.max_source_positions * encoder.hidden_size
    rows = numbers // encoder.intermediate_size
    return Answer({"input_features": features}, processor.audio_token * rows)


def _asked(processor: Any, text: str, given: Options) -> Answer:
    made = processor(text=text, **_ASKED, **given)
    return Answer(dict(made), str(made["text_replacement_offsets"][0][0]["replacement"]))


def small(modality: Modality, rate: int) -> Any:
    """An item without content: half a second of a clip, or of a sound."""
    if modality == "audio":
        return np.zeros(rate // 2, np.float32)
    picture = np.zeros((64, 64, 3), np.uint8)
    return Image.fromarray(picture) if modality == "image" else Clip(np.stack([picture] * 4), 8.0)


def metadata_of(clip: Clip) -> VideoMetadata:
    """As transformers would write it of the source, with the frames that were chosen."""
    count, height, width = clip.frames.shape[:3]
    total = clip.total_num_frames or count
    return VideoMetadata(
        total_num_frames=total,
        fps=clip.fps,
        width=width,
        height=height,
        duration=total / clip.fps if clip.fps else None,
        frames_indices=list(clip.indices if clip.indices is not None else range(count)),
    )
