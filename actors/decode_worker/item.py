"""One item from its source to features: the decode worker's work without its sockets."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from ...gpu_runtime.processing import SAMPLING, Clip, Part, ProcessedItem, Processor
from ...protocol.config.roles import MediaLimits
from ...protocol.errors import invalid, undecodable
from ...protocol.memory.blobs import BlobRef
from ...protocol.refusals import beyond_context
from ...protocol.requests.preview import ItemLook
from ...protocol.requests.request import (
    CLIP_FACTS,
    Embeds,
    Encoded,
    FrameList,
    Frames,
    Modality,
    PackedEmbeds,
    Page,
    Piece,
    Pixels,
    Samples,
    Source,
)
from ...protocol.requests.sound import CutPlace
from ..jobs.options import CUT, MOST_FPS, SIBLINGS, SOUND_TRACK, background_of
from .audio import audio_of_samples, decode_audio, resampled_length
from .clip_headers import look_video
from .documents import Size, draw
from .embeds import check_embeds
from .image import decode_image, image_of_pixels
from .picture_headers import look_image
from .sampling import Sampling, sampling_of
from .sound_headers import look_audio
from .sound_pieces import cut_sound, decode_piece
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


class Reading(NamedTuple):
    """How files become media."""

    picture: Callable[..., Image]
    clip: Callable[..., Clip]
    sound: Callable[..., Array]


DECODED = Reading(decode_image, decode_video, decode_audio)
LOOKED_AT = Reading(look_image, look_video, look_audio)
"""By their headers: media of the same sizes without content, and nothing is decoded."""


class Made(NamedTuple):
    """What became of one item."""

    item: ProcessedItem
    look: ItemLook
    dtype: str | None = None
    """Of the tensors where numpy has no such type: bfloat16, as its bits."""


class ItemDecoder:
    """Decodes what one model takes, under one set of limits. Raises RequestError for an item that
    is refused."""

    def __init__(
        self,
        processor: Processor,
        width: int,
        limits: MediaLimits,
        max_rows: int,
        hidden: int | None = None,
    ) -> None:
        """`width`: columns of an item's embedding; `hidden`: of a token's, where they are fewer."""
        self._processor = processor
        self._width = width
        self._hidden = hidden or width
        self._limits = limits
        self._max_rows = max_rows

    def features(
        self,
        modality: Modality,
        source: Source,
        data: bytes,
        options: Options,
        io: Options,
        by: Reading = DECODED,
    ) -> Made:
        """`data` is the source's blob, copied: nobody can change it any more. `options`: of the
        model's processor. `by`: LOOKED_AT gives the layout of the item, and features of nothing."""
        if isinstance(source, Embeds):
            dtype = source.blob.dtype
            kind = "uint16" if dtype == "bfloat16" else dtype  # numpy has no such type: its bits
            given = np.frombuffer(data, kind).reshape(source.blob.shape)
            return self._embeds(modality, dtype, given, source.grid, options)
        if isinstance(source, PackedEmbeds):
            return self._packed(modality, source, data, options)
        sound: Array | None = None
        match modality:
            case "audio" if CUT in io:
                return self._cut(data, options, *io[CUT])
            case "image":
                return self.picture(self._image(source, data, io, by), options, io, by)
            case "video":
                media: Any = self._video(source, data, options, io, by)
                sound = self._track(source, data, by) if SOUND_TRACK in io else None
            case "audio":
                media = self._audio(source, data, by)
            case "prompt":
                raise invalid(
                    "A prompt of embeddings must be an array, a tensor, or a file of one."
                )
            case "document":
                raise invalid("A document is read page by page.")
        effective = _of_time(source, options, io) if modality == "video" else options
        return self._made(modality, media, effective, io, by, sound)

    def picture(self, image: Image, options: Options, io: Options, by: Reading) -> Made:
        """What becomes of a picture. Raises RequestError."""
        return self._made("image", image, options, io, by)

    def _made(
        self,
        modality: Modality,
        media: Any,
        effective: Options,
        io: Options,
        by: Reading,
        sound: Array | None = None,
    ) -> Made:
        self._check_rows(self._processor.size(modality, _extent(media), effective) or 0)
        with warnings.catch_warnings():  # frames may lie in the caller's own bytes
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            beside, hollow = SIBLINGS in io, by is LOOKED_AT
            made = self._processor.item(modality, media, effective, beside, sound, hollow)
        if any(part.rows < 1 for part in made.parts):
            how = "small" if modality == "image" else "short"
            raise undecodable(f"The {modality} is too {how} to hold anything.")
        self._check_rows(made.rows)
        resized = self._processor.resized(modality, made, effective)
        return Made(made, look_of(media, resized, self._processor.sampling_rate))

    def _image(self, source: Source, data: bytes, io: Options, by: Reading) -> Any:
        background = background_of(io)
        match source:
            case Encoded():
                return by.picture(data, self._limits, background)
            case Page(_, number, width, height):
                return draw(data, number, Size(width, height), background)
            case Pixels(blob, mode):
                pixels = _numbers(data, blob, "uint8")
                return image_of_pixels(pixels, mode, self._limits, background)
            case _:
                raise invalid("An image must be an encoded picture or pixels.")

    def _video(
        self, source: Source, data: bytes, options: Options, io: Options, by: Reading
    ) -> Clip:
        match source:
            case Encoded():
                sampling = self._sampling(options, io, DEFAULT_FRAMES)
                return by.clip(data, self._limits, sampling, bool(io.get("frame_recovery")))
            case FrameList(sizes=sizes):
                return self._frame_list(data, sizes, {**io, **_facts(source)}, options, by)
            case Frames(blob, rate):
                frames = _numbers(data, blob, "uint8")
                asked = (options.keys() | io.keys()) & {"num_frames", "fps"}
                wanted = asked and source.do_sample_frames and options.get("do_sample_frames", True)
                chosen = self._sampling(options, io, None) if wanted else None
                _check_facts(len(frames), source.frames_indices, source.total_num_frames)
                made = frames_of_array(frames, rate, self._limits, chosen)
                return _of_facts(*made, _facts(source), len(frames))
            case _:
                raise invalid("A video must be an encoded clip or frames.")

    def _frame_list(
        self, data: bytes, sizes: tuple[int, ...], io: Options, options: Options, by: Reading
    ) -> Clip:
        """`fps` among `io` says how far apart the frames are; they are sampled only where
        `do_sample_frames` says so."""
        ends = np.cumsum(sizes).tolist()
        pictures = [data[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        _check_facts(len(pictures), io.get("frames_indices"), io.get("total_num_frames"))
        if options.get("do_sample_frames", io.get("do_sample_frames", False)):
            asked = {name: value for name, value in io.items() if name != "fps"}
            sampling = self._sampling(options, asked, DEFAULT_FRAMES)
        else:
            sampling = Sampling(None, None, None, self._limits.video_seconds)
        made = frames_of_pictures(pictures, self._limits, sampling, io.get("fps"), by.picture)
        return _of_facts(*made, io, len(pictures))

    def _sampling(self, options: Options, io: Options, default: int | None) -> Sampling:
        named = {name: value for name, value in options.items() if name != "do_sample_frames"}

        def choice(total: int, rate: float) -> list[int] | None:
            return self._processor.frames(total, rate, named)

        return sampling_of(options, io, default, choice, self._limits.video_seconds)

    def _track(self, source: Source, data: bytes, by: Reading) -> Array | None:
        """A clip's own sound; None where it has none, or next to none."""
        assert isinstance(source, Encoded)
        rate = self._processor.sampling_rate
        samples = by.sound(data, rate, self._limits, True)
        return samples if len(samples) >= int(rate * SHORTEST_TRACK_SECONDS) else None

    def _audio(self, source: Source, data: bytes, by: Reading) -> Array:
        rate = self._processor.sampling_rate
        match source:
            case Encoded():
                return by.sound(data, rate, self._limits, False)
            case Samples(blob, own_rate):
                samples = _numbers(data, blob, "float32")
                return audio_of_samples(samples, own_rate, rate, self._limits)
            case Piece(_, stretch):
                return decode_piece(data, stretch, rate, self._limits)
            case _:
                raise invalid("A sound must be an encoded file or samples.")

    def _cut(
        self, data: bytes, options: Options, seconds: float, rows: int, place: Sequence[int] | None
    ) -> Made:
        """The pieces of a sound from `place` on, of one turn, and the layout of the first."""
        rate, limits = self._processor.sampling_rate, self._limits
        seconds = min(seconds, limits.audio_seconds)
        while (
            seconds > 1
            and (self._processor.size("audio", int(seconds * rate), options) or 0) > rows
        ):
            seconds /= 2
        begin = None if place is None else CutPlace(*place)
        cut = cut_sound(data, lambda own_rate: int(seconds * own_rate), limits, begin)
        first = cut.stretches[0]
        length = resampled_length(first.end - first.start, cut.rate, rate)
        silence = np.broadcast_to(np.zeros((), np.float32), (length,))
        made = self._made("audio", silence, options, {}, LOOKED_AT)
        look = ItemLook(
            seconds=round(cut.seconds, 6), rate=cut.rate, stretches=cut.stretches, rest=cut.rest
        )
        return made._replace(look=look)

    def _packed(
        self, modality: Modality, source: PackedEmbeds, data: bytes, options: Options
    ) -> Made:
        split = len(data) - source.grid_bytes
        packed = unpack(data[:split], self._limits.embeds_bytes)
        grid = source.grid or packed.grid
        if source.grid_bytes:
            grid = grid_of(unpack(data[split:], GRID_FILE_BYTES).values)
        values = packed.values
        if values.ndim == 3 and len(values) == 1:
            values = values[0]
        return self._embeds(modality, packed.dtype, values, grid, options)

    def _embeds(
        self,
        modality: Modality,
        dtype: str,
        given: Array,
        grid: tuple[int, int, int] | None,
        options: Options,
    ) -> Made:
        """`dtype` is that of the values; bfloat16 comes as its bits."""
        columns = self._hidden if modality == "prompt" else self._width
        what = "the model's hidden size"
        if columns != self._hidden:
            what = f"the width of this model's {modality} items,"
        rows = check_embeds(dtype, given.shape, given.data, columns, self._limits, what)
        self._check_rows(rows)  # before anything of their size is made
        if modality == "prompt":
            if grid is not None:
                raise invalid(
                    "Embeddings of prompt items have no grid with this model; leave it out."
                )
            # Text adds nothing in deeper layers.
            given = np.pad(given, ((0, 0), (0, self._width - columns)))
            made = ProcessedItem("", (), (Part("image", {}, rows, 0),))
        else:
            made = self._processor.ready(modality, rows, grid, options)
            if made.rows != rows:
                raise invalid(f"Embeddings must have {made.rows} rows, got {rows}.")
        part = replace(made.parts[0], tensors={"embeds": given})
        return Made(replace(made, parts=(part,)), ItemLook(), dtype)

    def _check_rows(self, rows: int) -> None:
        if rows > self._max_rows:
            raise beyond_context(f"The item takes {rows} tokens", self._max_rows)


def look_of(media: Any, resized: tuple[int, int] | None, rate: int) -> ItemLook:
    """Of a picture, a clip or samples at `rate`. `resized`: (height, width)."""
    high, wide = resized or (None, None)
    match media:
        case Clip(frames=frames, fps=fps):
            height, width = frames.shape[1:3]
            places = media.indices if media.indices is not None else range(len(frames))
            total = media.total_num_frames or len(frames)
            return ItemLook(
                width=width,
                height=height,
                resized_width=wide,
                resized_height=high,
                times=tuple(round(at / fps, 6) for at in places) if fps else (),
                seconds=round(total / fps, 6) if fps else None,
            )
        case np.ndarray():
            return ItemLook(seconds=round(len(media) / rate, 6))
        case _:
            return ItemLook(media.width, media.height, wide, high)


def _extent(media: Any) -> Any:
    """(height, width), (frames, height, width) or samples."""
    match media:
        case Clip(frames=frames):
            return frames.shape[:3]
        case np.ndarray():
            return len(media)
        case _:
            return media.height, media.width


def _of_time(source: Source, options: Options, io: Options) -> Options:
    """The options of a clip's processor, whose frames are chosen already. A rate that decoding was
    asked for says how time runs in it, as one that the processor was asked for does, and so does
    the distance of a caller's own frames."""
    left = {name: value for name, value in options.items() if name not in SAMPLING}
    told = {**io, **_facts(source)} if isinstance(source, FrameList) else io
    rate = options.get("fps", told.get("fps"))
    if rate is None:
        return left
    most = io.get(MOST_FPS, rate) if isinstance(source, Encoded) else rate
    return {**left, "fps": min(rate, most)}


def _facts(source: Frames | FrameList) -> Options:
    """What a caller says of the frames of a clip."""
    return {name: value for name in CLIP_FACTS if (value := getattr(source, name)) is not None}


def _of_facts(frames: Array, chosen: list[int], facts: Options, given: int) -> Clip:
    """`chosen` of the `given` frames, with the places that they had in their source."""
    places = facts.get("frames_indices") or range(given)
    return Clip(
        frames,
        facts.get("fps"),
        tuple(places[at] for at in chosen),
        facts.get("total_num_frames") or max(places) + 1,
    )


def _check_facts(frames: int, indices: Any, total: Any) -> None:
    """What a caller says of the frames must fit them."""
    if indices is not None and len(indices) != frames:
        raise invalid(f"frames_indices must name each of the {frames} frames, got {len(indices)}.")
    if total is not None and total < frames:
        raise invalid(f"total_num_frames must be at least the {frames} frames given, got {total}.")


def _numbers(data: bytes, blob: BlobRef, expected: str) -> Array:
    """Those of a blob, which must be of this type."""
    if blob.dtype != expected:
        raise invalid(f"Values must be {expected}, got {blob.dtype}.")
    return np.frombuffer(data, expected).reshape(blob.shape)
