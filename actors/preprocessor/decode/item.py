"""One item from its source to features: the decode worker's work without its sockets."""

from typing import Any

import numpy as np

from ....protocol.blobs import ITEM_SIZE
from ....protocol.config import MediaLimits
from ....protocol.errors import refuse
from ....protocol.request import Embeds, Encoded, Frames, Modality, Pixels, Samples, Source
from ..families.base import Clip, Family, MediaFeatures
from .audio import audio_of_samples, decode_audio
from .embeds import check_embeds
from .image import decode_image, image_of_pixels
from .image_options import background_of
from .sampling import Sampling, sampling_of
from .video import decode_video, frames_of_array

Options = dict[str, Any]


class ItemDecoder:
    """Decodes what one family takes, under one set of limits. Raises RequestError for an item that is refused."""

    def __init__(self, family: Family, limits: MediaLimits, max_rows: int) -> None:
        self._family = family
        self._limits = limits
        self._max_rows = max_rows

    def features(self, modality: Modality, source: Source, data: bytes, processor: Options, io: Options) -> MediaFeatures:
        """`data` is the source's blob, copied: nobody can change it any more."""
        if isinstance(source, Embeds):
            return self._embeds(modality, source, data)
        match modality:
            case "image":
                media: Any = self._image(source, data, io)
            case "video":
                media = self._video(source, data, processor, io)
            case "audio":
                media = self._audio(source, data)
        made = self._family.features(modality, media, processor, self._max_rows)
        if made.rows < 1:
            raise refuse("unprocessable_media", f"The {modality} is too short to hold anything.")
        return made

    def _image(self, source: Source, data: bytes, io: Options) -> Any:
        background = background_of(io)
        match source:
            case Encoded():
                return decode_image(data, self._limits, background)
            case Pixels(blob, mode):
                return image_of_pixels(
                    np.frombuffer(data, _numeric(blob.dtype, "uint8")).reshape(blob.shape), mode, self._limits, background
                )
            case _:
                raise refuse("invalid_request", "An image must be an encoded picture or pixels.")

    def _video(self, source: Source, data: bytes, processor: Options, io: Options) -> Clip:
        fps = processor.get("fps", io.get("fps"))
        match source:
            case Encoded():
                sampling = self._sampling(processor, io, self._limits.video_frames)
                return Clip(decode_video(data, self._limits, sampling, bool(io.get("frame_recovery", False))), fps)
            case Frames(blob, rate):
                frames = np.frombuffer(data, _numeric(blob.dtype, "uint8")).reshape(blob.shape)
                asked = processor.keys() & {"num_frames", "fps"} or io.keys() & {"num_frames", "fps"}
                sampling = self._sampling(processor, io, None) if asked and source.do_sample_frames else None  # type: ignore[assignment]
                return Clip(frames_of_array(frames, rate, self._limits, sampling), fps)
            case _:
                raise refuse("invalid_request", "A video must be an encoded clip or frames.")

    def _sampling(self, processor: Options, io: Options, default: int | None) -> Sampling:
        family = self._family
        return sampling_of(processor, io, default, family.sample_fps, family.max_frames, self._limits.video_seconds)

    def _audio(self, source: Source, data: bytes) -> Any:
        rate = self._family.sampling_rate
        match source:
            case Encoded():
                return decode_audio(data, rate, self._limits)
            case Samples(blob, own_rate):
                samples = np.frombuffer(data, _numeric(blob.dtype, "float32")).reshape(blob.shape)
                return audio_of_samples(samples, own_rate, rate, self._limits)
            case _:
                raise refuse("invalid_request", "A sound must be an encoded file or samples.")

    def _embeds(self, modality: Modality, source: Embeds, data: bytes) -> MediaFeatures:
        blob, grid = source.blob, source.grid
        if grid is not None and min(grid) < 1:
            raise refuse("invalid_request", f"A grid must be three positive numbers, got {list(grid)}.")
        expected = self._family.rows_of(modality, grid)
        hidden = self._family.checkpoint.info.hidden
        rows = check_embeds(blob.dtype, blob.shape, data, hidden, expected, self._limits)
        # bfloat16 travels as its bits; the worker writes the blob under the source's own type
        kind = np.dtype(np.uint16 if blob.dtype == "bfloat16" else blob.dtype)
        seconds = 1.0 if modality == "video" else 0.0
        return MediaFeatures({"embeds": np.frombuffer(data, kind).reshape(blob.shape)}, rows, grid, seconds)


def _numeric(dtype: str, expected: str) -> str:
    if dtype != expected or dtype not in ITEM_SIZE:
        raise refuse("invalid_request", f"Values must be {expected}, got {dtype}.")
    return dtype
