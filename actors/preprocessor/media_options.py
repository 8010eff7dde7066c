"""Options of decoding and of the model's processor: which there are, what they may be, and what
they come to for one item.

A request's own go before the operator's, never beyond the operator's ceilings: what costs is
clamped, not refused. Pure.
"""

from collections.abc import Iterable
from typing import Any

from ...protocol.config.roles import PreprocessorConfig
from ...protocol.errors import EngineError, RequestError, invalid, refuse
from ...protocol.requests.request import (
    CLIP_FACTS,
    MODALITIES,
    Encoded,
    MediaItem,
    Modality,
    Request,
)
from ..jobs.options import MOST_FPS, MOST_FRAMES, SIBLINGS, SOUND_TRACK, background_of

OptionValues = dict[str, Any]

IO_OPTIONS: dict[Modality, frozenset[str]] = {
    "image": frozenset({"rgba_background_color"}),
    "video": frozenset({"num_frames", "max_duration", "frame_recovery", *CLIP_FACTS}),
    "audio": frozenset(),
}
NESTED: dict[Modality, str] = {
    "image": "images_kwargs",
    "video": "videos_kwargs",
    "audio": "audio_kwargs",
}
"""Processor options of one modality alone, as transformers' processors take them; they go before
those of all."""
SOUND_SWITCH = "use_audio_in_video"
"""A processor option of the whole prompt, to which it adds items."""
COSTLY: dict[Modality, tuple[str, ...]] = {
    "image": (
        "max_pixels",
        "max_patches",
        "max_slice_nums",
        "max_image_tokens",
        "max_soft_tokens",
        "max_crops",
        "num_crops",
    ),
    "video": (
        "max_pixels",
        "num_frames",
        "fps",
        "max_duration",
        "max_frames",
        "max_slice_nums",
        "max_soft_tokens",
    ),
    "audio": (),
}
"""Options of which the operator's own value is a ceiling."""


class MediaOptions:
    """One engine's. Raises EngineError where the operator's own are none."""

    def __init__(self, config: PreprocessorConfig) -> None:
        self._config = config
        self._model = model = config.model
        self._options = {
            modality: frozenset(names) for modality, names in model.media_options.items()
        }
        self._known: frozenset[str] = frozenset().union(*self._options.values())
        try:
            self._check_processor(config.processor_kwargs)
            self._check_io(config.io_kwargs)
        except RequestError as error:
            raise EngineError(error.failure.text) from error
        if isinstance(for_modality(config.processor_kwargs, "video").get("fps"), list):
            raise EngineError(
                "fps of the engine is one number; a list has one for each video of a prompt."
            )
        self._ceilings: dict[Modality, OptionValues] = {
            modality: _ceilings(config, modality) for modality in MODALITIES
        }

    def check(self, request: Request) -> None:
        """Raises RequestError naming an option that is unknown, or is not what it must be."""
        self._check_processor(request.mm_processor_kwargs)
        self._check_io(request.media_io_kwargs)
        for item in request.media:
            self._check_own(item)
        rates = for_modality(request.mm_processor_kwargs, "video").get("fps")
        clips = sum(1 for item in request.media if item.modality == "video")
        if isinstance(rates, list) and len(rates) != clips:
            text = f"fps is one number, or one per video: got {len(rates)} for {clips} videos."
            raise invalid(text, "mm_processor_kwargs")

    def hears_clips(self, request: Request) -> bool:
        """Whether the sound of clips is wanted."""
        asked = for_modality(request.mm_processor_kwargs, "video").get(SOUND_SWITCH)
        return bool(
            for_modality(self._config.processor_kwargs, "video").get(SOUND_SWITCH)
            if asked is None
            else asked
        )

    def of(self, request: Request, index: int) -> tuple[OptionValues, OptionValues]:
        """(processor, io) options in effect for one item, irrelevant ones left out."""
        item = request.media[index]
        modality = item.modality
        if modality not in MODALITIES:
            return {}, {}
        asked = for_modality(request.mm_processor_kwargs, modality)
        asked = {name: value for name, value in asked.items() if value is not None}
        processor = {
            **for_modality(self._config.processor_kwargs, modality),
            **asked,
            **item.options,
        }
        if isinstance(processor.get("fps"), list):  # one per clip, as qwen-vl-utils returns them
            nth = sum(1 for earlier in request.media[:index] if earlier.modality == "video")
            processor["fps"] = processor["fps"][nth] if modality == "video" else None
        relevant = self._options.get(modality, frozenset())
        processor = {
            name: value
            for name, value in processor.items()
            if name in relevant and value is not None
        }
        io = {
            **self._config.io_kwargs.get(modality, {}),
            **request.media_io_kwargs.get(modality, {}),
        }
        return self._below_ceilings(modality, processor, io)

    def beside(self, request: Request, index: int) -> dict[str, bool]:
        """What an item's embedding depends on beside its content and the options that its caller
        gave."""
        found: dict[str, bool] = {}
        item = request.media[index]
        encoded = item.source is None or isinstance(
            item.source, Encoded
        )  # frames alone have no sound
        if item.modality == "video" and encoded and self.hears_clips(request):
            found[SOUND_TRACK] = True
        changed_by = self._model.siblings.get(item.modality)
        if any(
            other.modality == changed_by
            for other in (*request.media[:index], *request.media[index + 1 :])
        ):
            found[SIBLINGS] = True
        return found

    def in_effect(self, request: Request) -> dict[str, dict[str, OptionValues]]:
        """What `of` came to, by kind of option and modality, for a request that asked for any: one
        value, or one per item."""
        if not (
            request.mm_processor_kwargs
            or request.media_io_kwargs
            or any(item.options for item in request.media)
        ):
            return {}
        found: dict[str, dict[str, OptionValues]] = {
            "mm_processor_kwargs": {},
            "media_io_kwargs": {},
        }
        for modality in MODALITIES:
            each = [
                self._told(request, index)
                for index, item in enumerate(request.media)
                if item.modality == modality
            ]
            processor, io = _together(pair[0] for pair in each), _together(pair[1] for pair in each)
            if modality == "video" and each and self.hears_clips(request):
                processor[SOUND_SWITCH] = True
            for kind, options in (("mm_processor_kwargs", processor), ("media_io_kwargs", io)):
                if options:
                    found[kind][modality] = options
        return {kind: options for kind, options in found.items() if options}

    def _told(self, request: Request, index: int) -> tuple[OptionValues, OptionValues]:
        """`of` one item, in the callers' words."""
        processor, io = self.of(request, index)
        frames, rate = io.pop(MOST_FRAMES, None), io.pop(MOST_FPS, None)
        if frames is not None:
            io["num_frames"] = frames
        source = request.media[index].source
        if rate is not None and (source is None or isinstance(source, Encoded)):
            for options in (processor, io):
                if "fps" in options:
                    options["fps"] = min(options["fps"], rate)
        return processor, io

    def _below_ceilings(
        self, modality: Modality, processor: OptionValues, io: OptionValues
    ) -> tuple[OptionValues, OptionValues]:
        """The same whatever the item's content is: an id stands for it later."""
        ceilings = dict(self._ceilings[modality])
        if "fps" in ceilings:
            io[MOST_FPS] = ceilings.pop("fps")
        if "num_frames" in ceilings and "num_frames" not in processor and "num_frames" not in io:
            io[MOST_FRAMES] = ceilings["num_frames"]
        for options in (processor, io):
            for name, most in ceilings.items():
                value = options.get(name)
                if value is not None and (value == -1 or value > most):
                    options[name] = most
        own, most = self._model.pixel_ranges.get(modality), ceilings.get("max_pixels")
        if own is not None and most is not None:
            if own[1] > most:
                processor.setdefault("max_pixels", most)
            if processor.get("max_pixels") == most and processor.get("min_pixels", own[0]) > most:
                processor["min_pixels"] = most
        return processor, io

    def _check_own(self, item: MediaItem) -> None:
        known = self._options.get(item.modality, frozenset())
        for name, value in item.options.items():
            if name not in known:
                names = ", ".join(sorted(known)) or "none"
                text = (
                    f"Unknown option {name!r}; of {item.modality} items, this model's are: {names}."
                )
                raise invalid(text, item.where)
            _check_value(name, value, item.where)

    def _check_processor(self, options: OptionValues) -> None:
        for modality, kind in NESTED.items():
            nested = options.get(kind) or {}
            if not isinstance(nested, dict):
                raise invalid(f"{kind} must be an object with options.", "mm_processor_kwargs")
            known = self._options.get(modality, frozenset()) | (
                {SOUND_SWITCH} if modality == "video" else set()
            )
            for name in nested:
                if name not in known:
                    text = (
                        f"Unknown option {name!r} in {kind}; this model's are: "
                        f"{', '.join(sorted(known)) or 'none'}."
                    )
                    raise invalid(text, "mm_processor_kwargs")
            self._check_flat(nested)
        self._check_flat(
            {name: value for name, value in options.items() if name not in NESTED.values()}
        )

    def _check_flat(self, options: OptionValues) -> None:
        for name, value in options.items():
            if name == SOUND_SWITCH:
                if value not in (True, False, None):
                    raise invalid(f"{name} must be true or false.", "mm_processor_kwargs")
                if value and not self._model.hears_clips:
                    raise refuse(
                        "unsupported", f"{name}: this model hears no clips.", "mm_processor_kwargs"
                    )
            elif name == "fps" and isinstance(value, list) and name in self._known:
                for rate in value:
                    _check_value(name, rate, "mm_processor_kwargs")
            elif name not in self._known:
                known = ", ".join(sorted(self._known)) or "none"
                raise invalid(
                    f"Unknown option {name!r}; this model's are: {known}.", "mm_processor_kwargs"
                )
            elif value is not None:
                _check_value(name, value, "mm_processor_kwargs")

    def _check_io(self, options: dict[str, OptionValues]) -> None:
        for modality, values in options.items():
            if modality not in MODALITIES or not isinstance(values, dict):
                raise invalid(f"Unsupported modality: {modality}", "media_io_kwargs")
            for name, value in values.items():
                if name not in IO_OPTIONS[modality]:
                    known = ", ".join(sorted(IO_OPTIONS[modality])) or "none"
                    raise invalid(
                        f"Unknown {modality} option {name!r}; known: {known}.", "media_io_kwargs"
                    )
                if name == "rgba_background_color":
                    background_of(values)
                else:
                    _check_value(name, value, "media_io_kwargs")


def for_modality(options: OptionValues, modality: Modality) -> OptionValues:
    """Processor options of all modalities and of this one alone, without those of the others."""
    flat = {name: value for name, value in options.items() if name not in NESTED.values()}
    return flat | (options.get(NESTED[modality]) or {})


def _ceilings(config: PreprocessorConfig, modality: Modality) -> OptionValues:
    """The least of what the operator says of it anywhere: as an option, or as the size of
    `limit_mm_per_prompt`."""
    sources = [for_modality(config.processor_kwargs, modality), config.io_kwargs.get(modality, {})]
    limit = config.limits_per_prompt.get(modality)
    if isinstance(limit, dict):
        sources.append({"num_frames": limit.get("num_frames")})
        if "width" in limit and "height" in limit:
            sources.append({"max_pixels": limit["width"] * limit["height"]})
    found: OptionValues = {}
    for name in COSTLY[modality]:
        values = [
            value
            for source in sources
            if isinstance(value := source.get(name), int | float) and value > 0
        ]
        if values:
            found[name] = min(values)
    return found


def _together(each: Iterable[OptionValues]) -> OptionValues:
    """One value for each option where all items have the same, else one per item."""
    items = list(each)
    names = dict.fromkeys(name for options in items for name in options)
    together: OptionValues = {}
    for name in names:
        values = [options.get(name) for options in items]
        together[name] = values[0] if all(value == values[0] for value in values) else values
    return together


def _check_value(name: str, value: Any, part: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match name:
        case "frame_recovery" | "do_sample_frames":
            fine, wanted = isinstance(value, bool), "true or false"
        case (
            "fps"
        ):  # of a rate near nothing, the moments of the frames would be no positions any more
            fine, wanted = (
                number and 1e-3 <= value < 1e6,
                "a positive number of frames per second, at least 0.001",
            )
        case "max_duration" | "duration":
            fine, wanted = number and 0 < value < 1e6, "a positive number"
        case "frames_indices":
            whole = isinstance(value, list | tuple) and all(
                type(v) is int and 0 <= v < 1 << 40 for v in value
            )
            fine, wanted = whole, "a list of whole numbers"
        case "num_frames":
            fine, wanted = (
                number and isinstance(value, int) and (value == -1 or value >= 1),
                "a positive whole number, or -1 for all",
            )
        case _:
            fine, wanted = (
                number and isinstance(value, int) and value >= 1,
                "a positive whole number",
            )
    if not fine:
        raise invalid(f"{name} must be {wanted}.", part)
