"""One item from its source to features: the decode worker's work without its sockets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....protocol.blobs import ITEM_SIZE
from ....protocol.errors import refuse
from ....protocol.request import CLIP_FACTS, Embeds, Encoded, FrameList, Frames, Modality, PackedEmbeds, Pixels, Samples, Source
from ....protocol.roles import MediaLimits
from ..families.base import Clip, Family, MediaFeatures, without_grid
from .audio import audio_of_samples, decode_audio
from .embeds import check_embeds
from .image import decode_image, image_of_pixels
from .options import SOUND_TRACK, background_of
from .sampling import Sampling, sampling_of
from .unpack import grid_of, unpack
from .video import decode_video, frames_of_array, frames_of_pictures

Options = dict[str, Any]
Array = NDArray[Any]

DEFAULT_FRAMES = 32
"""Frames of a clip that are looked at where neither caller nor model says how many."""
SHORTEST_TRACK_SECONDS = 1 / 20
"""A clip's sound that is shorter holds less than the smallest piece that an audio tower takes."""
GRID_FILE_BYTES = 1 << 20
"""Of a file that holds a grid, three numbers; this leaves room for every format's header."""


class ItemDecoder:
    """Decodes what one family takes, under one set of limits. Raises RequestError for an item that is refused."""

    def __init__(self, family: Family, limits: MediaLimits, max_rows: int) -> None:
        self._family = family
        self._limits = limits
        self._max_rows = max_rows

    def features(self, modality: Modality, source: Source, data: bytes, processor: Options, io: Options) -> MediaFeatures:
        """`data` is the source's blob, copied: nobody can change it any more."""
        if isinstance(source, Embeds):
            kind = np.uint16 if source.blob.dtype == "bfloat16" else source.blob.dtype  # numpy has no bfloat16: its bits
            given = np.frombuffer(data, kind).reshape(source.blob.shape)
            return self._embeds(modality, source.blob.dtype, given, source.grid, processor)
        if isinstance(source, PackedEmbeds):
            return self._packed(modality, source, data, processor)
        match modality:
            case "image":
                media: Any = self._image(source, data, io)
            case "video":
                media = self._video(source, data, processor, io)
            case "audio":
                media = self._audio(source, data, io)
                if SOUND_TRACK in io and len(media) < int(self._family.sampling_rate * SHORTEST_TRACK_SECONDS):
                    return MediaFeatures({}, 0)
            case "prompt":
                raise refuse("invalid_request", "A prompt of embeddings must be an array, a tensor, or a file of one.")
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
                whole = self._sampling(processor, io, DEFAULT_FRAMES)
                frames = decode_video(data, self._limits, whole, bool(io.get("frame_recovery", False)))
                return Clip(frames, None if fps is None else whole.fps)
            case FrameList(sizes=sizes):
                facts = {name: value for name in CLIP_FACTS if (value := getattr(source, name)) is not None}
                return self._frame_list(data, sizes, {**io, **facts}, processor)
            case Frames(blob, rate):
                frames = np.frombuffer(data, _numeric(blob.dtype, "uint8")).reshape(blob.shape)
                asked = processor.keys() & {"num_frames", "fps"} or io.keys() & {"num_frames", "fps"}
                wanted = asked and source.do_sample_frames and processor.get("do_sample_frames", True)
                sampling = self._sampling(processor, io, None) if wanted else None
                _check_facts(len(frames), source.frames_indices, source.total_num_frames)
                return Clip(frames_of_array(frames, rate, self._limits, sampling), fps)
            case _:
                raise refuse("invalid_request", "A video must be an encoded clip or frames.")

    def _frame_list(self, data: bytes, sizes: tuple[int, ...], io: Options, processor: Options) -> Clip:
        """`fps` among `io` says how far apart the frames are; they are sampled only where `do_sample_frames` says so."""
        ends = np.cumsum(sizes).tolist()
        pictures = [data[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        _check_facts(len(pictures), io.get("frames_indices"), io.get("total_num_frames"))
        if processor.get("do_sample_frames", io.get("do_sample_frames", False)):
            asked = {name: value for name, value in io.items() if name != "fps"}
            sampling = self._sampling(processor, asked, DEFAULT_FRAMES)
        else:
            sampling = Sampling(None, None, None, self._limits.video_seconds)
        frames = frames_of_pictures(pictures, self._limits, sampling, io.get("fps"))
        return Clip(frames, processor.get("fps", io.get("fps")))

    def _sampling(self, processor: Options, io: Options, default: int | None) -> Sampling:
        family = self._family
        return sampling_of(processor, io, default, family.sample_fps, family.max_frames, self._limits.video_seconds)

    def _audio(self, source: Source, data: bytes, io: Options) -> Any:
        rate = self._family.sampling_rate
        match source:
            case Encoded():
                return decode_audio(data, rate, self._limits, SOUND_TRACK in io)
            case Samples(blob, own_rate):
                samples = np.frombuffer(data, _numeric(blob.dtype, "float32")).reshape(blob.shape)
                return audio_of_samples(samples, own_rate, rate, self._limits)
            case _:
                raise refuse("invalid_request", "A sound must be an encoded file or samples.")

    def _packed(self, modality: Modality, source: PackedEmbeds, data: bytes, processor: Options) -> MediaFeatures:
        split = len(data) - source.grid_bytes
        packed = unpack(data[:split], self._limits.embeds_bytes)
        grid = source.grid or packed.grid
        if source.grid_bytes:
            grid = grid_of(unpack(data[split:], GRID_FILE_BYTES).values)
        values = packed.values
        if values.ndim == 3 and len(values) == 1:
            values = values[0]
        return self._embeds(modality, packed.dtype, values, grid, processor)

    def _embeds(
        self, modality: Modality, dtype: str, given: Array, grid: tuple[int, int, int] | None, processor: Options
    ) -> MediaFeatures:
        """`dtype` is that of the values; bfloat16 comes as its bits."""
        expected = self._rows_of(modality, grid)
        shape = tuple(given.shape)
        rows = check_embeds(dtype, shape, given.data, self._family.embed_width, expected, self._limits)
        if rows > self._max_rows:
            raise refuse(
                "invalid_request",
                f"The item takes {rows} tokens, the model's context is {self._max_rows}.",
                code="context_length_exceeded",
            )
        # As for a clip of unknown rate: two frames a patch, two frames a second.
        seconds = 2 / processor.get("fps", 2.0) if modality == "video" else 0.0
        return MediaFeatures({"embeds": given}, rows, grid, seconds, dtype)

    def _rows_of(self, modality: Modality, grid: tuple[int, int, int] | None) -> int | None:
        """Of a ready-made embedding; None: any number."""
        if modality != "prompt":
            return self._family.rows_of(modality, grid)
        without_grid(modality, grid)
        return None


def _check_facts(frames: int, indices: Any, total: Any) -> None:
    """What a caller says of the frames must fit them."""
    if indices is not None and len(indices) != frames:
        raise refuse("invalid_request", f"frames_indices must name each of the {frames} frames, got {len(indices)}.")
    if total is not None and total < frames:
        raise refuse("invalid_request", f"total_num_frames must be at least the {frames} frames given, got {total}.")


def _numeric(dtype: str, expected: str) -> str:
    if dtype != expected or dtype not in ITEM_SIZE:
        raise refuse("invalid_request", f"Values must be {expected}, got {dtype}.")
    return dtype
