"""Options of decoding and of the model's processor: which there are, what they may be, and what
they come to for one item.

A request's own go before the operator's, never beyond the operator's ceilings: what costs is
clamped, not refused. Pure.
"""

from collections.abc import Container, Iterable
from typing import Any

import msgspec

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
from ..jobs.options import CUT, MOST_FPS, MOST_FRAMES, SIBLINGS, SOUND_TRACK, background_of

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
_PICTURES = ("max_pixels", "max_slice_nums", "max_soft_tokens")
COSTLY: dict[Modality, tuple[str, ...]] = {
    "image": (*_PICTURES, "max_patches", "max_image_tokens", "max_crops", "num_crops"),
    "video": (*_PICTURES, "num_frames", "fps", "max_duration", "max_frames"),
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
            text = "fps of the engine is one number; a list has one for each video of a prompt."
            raise EngineError(text)
        self._ceilings = {modality: _ceilings(config, modality) for modality in MODALITIES}

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
        if asked is None:
            asked = for_modality(self._config.processor_kwargs, "video").get(SOUND_SWITCH)
        return bool(asked)

    def of(self, request: Request, index: int) -> tuple[OptionValues, OptionValues]:
        """(processor, io) options in effect for one item, irrelevant ones left out."""
        item = request.media[index]
        modality = seen_as(item)
        if modality not in MODALITIES:
            return {}, {}
        asked = _given(for_modality(request.mm_processor_kwargs, modality))
        processor = for_modality(self._config.processor_kwargs, modality) | asked | item.options
        if isinstance(processor.get("fps"), list):  # one per clip, as qwen-vl-utils returns them
            nth = sum(1 for earlier in request.media[:index] if earlier.modality == "video")
            processor["fps"] = processor["fps"][nth] if modality == "video" else None
        relevant = self._options.get(modality, frozenset())
        processor = {k: value for k, value in _given(processor).items() if k in relevant}
        own, its = self._config.io_kwargs.get(modality), request.media_io_kwargs.get(modality)
        return self._below_ceilings(modality, processor, {**(own or {}), **(its or {})})

    def beside(self, request: Request, index: int, unseen: Container[int] = ()) -> dict[str, Any]:
        """What an item's embedding depends on beside its content and the options that its caller
        gave. `unseen`: indices of documents that are text alone."""
        item = request.media[index]
        encoded = isinstance(item.source, Encoded | None)  # frames alone have no sound
        sounds = item.modality == "video" and encoded and self.hears_clips(request)
        changed_by = self._model.siblings.get(seen_as(item))
        changed = any(
            seen_as(other) == changed_by
            for at, other in enumerate(request.media)
            if at != index and at not in unseen
        )
        cut: dict[str, Any] = {}
        if item.cut is not None:
            place = item.cut.place
            begin = None if place is None else list(msgspec.structs.astuple(place))
            cut = {CUT: [item.cut.seconds, item.cut.rows, begin]}
        return cut | {name: True for name, on in ((SOUND_TRACK, sounds), (SIBLINGS, changed)) if on}

    def in_effect(self, request: Request) -> dict[str, dict[str, OptionValues]]:
        """What `of` came to, by kind of option and modality, for a request that asked for any: one
        value, or one per item."""
        own = any(item.options for item in request.media)
        if not (request.mm_processor_kwargs or request.media_io_kwargs or own):
            return {}
        found: dict[str, dict[str, OptionValues]] = {}
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
                    found.setdefault(kind, {})[modality] = options
        return found

    def _told(self, request: Request, index: int) -> tuple[OptionValues, OptionValues]:
        """`of` one item, in the callers' words."""
        processor, io = self.of(request, index)
        frames, rate = io.pop(MOST_FRAMES, None), io.pop(MOST_FPS, None)
        if frames is not None:
            io["num_frames"] = frames
        if rate is not None and isinstance(request.media[index].source, Encoded | None):
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
        known = self._options.get(seen_as(item), frozenset())
        for name, value in item.options.items():
            if name not in known:
                whose = f"; of {item.modality} items, this model's"
                raise _unknown(name, whose, known, item.where)
            _check_value(name, value, item.where)

    def _check_processor(self, options: OptionValues) -> None:
        for modality, kind in NESTED.items():
            nested = options.get(kind) or {}
            if not isinstance(nested, dict):
                raise invalid(f"{kind} must be an object with options.", "mm_processor_kwargs")
            switch = {SOUND_SWITCH} if modality == "video" else set()
            known = self._options.get(modality, frozenset()) | switch
            for name in nested:
                if name not in known:
                    raise _unknown(name, f" in {kind}; this model's", known, "mm_processor_kwargs")
            self._check_flat(nested)
        self._check_flat(_flat(options))

    def _check_flat(self, options: OptionValues) -> None:
        for name, value in options.items():
            if name == SOUND_SWITCH:
                if value not in (True, False, None):
                    raise invalid(f"{name} must be true or false.", "mm_processor_kwargs")
                if value and not self._model.hears_clips:
                    text = f"{name}: this model hears no clips."
                    raise refuse("unsupported", text, "mm_processor_kwargs")
            elif name == "fps" and isinstance(value, list) and name in self._known:
                for rate in value:
                    _check_value(name, rate, "mm_processor_kwargs")
            elif name not in self._known:
                raise _unknown(name, "; this model's", self._known, "mm_processor_kwargs")
            elif value is not None:
                _check_value(name, value, "mm_processor_kwargs")

    def _check_io(self, options: dict[str, OptionValues]) -> None:
        for modality, values in options.items():
            if modality not in MODALITIES or not isinstance(values, dict):
                raise invalid(f"Unsupported modality: {modality}", "media_io_kwargs")
            for name, value in values.items():
                if name not in IO_OPTIONS[modality]:
                    known = ", ".join(sorted(IO_OPTIONS[modality])) or "none"
                    text = f"Unknown {modality} option {name!r}; known: {known}."
                    raise invalid(text, "media_io_kwargs")
                if name == "rgba_background_color":
                    background_of(values)
                else:
                    _check_value(name, value, "media_io_kwargs")


def seen_as(item: MediaItem) -> Modality:
    """A document's pages are pictures."""
    return "image" if item.modality == "document" else item.modality


def for_modality(options: OptionValues, modality: Modality) -> OptionValues:
    """Processor options of all modalities and of this one alone, without those of the others."""
    return _flat(options) | (options.get(NESTED[modality]) or {})


def _flat(options: OptionValues) -> OptionValues:
    """Those of all modalities."""
    return {name: value for name, value in options.items() if name not in NESTED.values()}


def _given(options: OptionValues) -> OptionValues:
    """Without those that are None."""
    return {name: value for name, value in options.items() if value is not None}


def _unknown(name: str, whose: str, known: Iterable[str], part: str) -> RequestError:
    """`whose`: where it stands, and of what the known ones are."""
    names = ", ".join(sorted(known)) or "none"
    return invalid(f"Unknown option {name!r}{whose} are: {names}.", part)


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
        values = [value for one in sources if isinstance(value := one.get(name), int | float)]
        if above := [value for value in values if value > 0]:
            found[name] = min(above)
    return found


def _together(each: Iterable[OptionValues]) -> OptionValues:
    """One value for each option where all items have the same, else one per item."""
    items, together = list(each), OptionValues()
    for name in dict.fromkeys(name for options in items for name in options):
        values = [options.get(name) for options in items]
        together[name] = values[0] if all(value == values[0] for value in values) else values
    return together


def _check_value(name: str, value: Any, part: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = number and isinstance(value, int) and value >= 1
    match name:
        case "frame_recovery" | "do_sample_frames":
            fine, wanted = isinstance(value, bool), "true or false"
        case "fps":  # of a rate near nothing, moments of frames would be no positions any more
            wanted = "a positive number of frames per second, at least 0.001"
            fine = number and 1e-3 <= value < 1e6
        case "max_duration" | "duration":
            fine, wanted = number and 0 < value < 1e6, "a positive number"
        case "frames_indices":
            listed = value if isinstance(value, list | tuple) else [None]
            fine = all(type(one) is int and 0 <= one < 1 << 40 for one in listed)
            wanted = "a list of whole numbers"
        case "num_frames":
            wanted = "a positive whole number, or -1 for all"
            fine = whole or (type(value) is int and value == -1)
        case _:
            fine, wanted = whole, "a positive whole number"
    if not fine:
        raise invalid(f"{name} must be {wanted}.", part)
