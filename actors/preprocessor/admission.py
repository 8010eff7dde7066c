"""What is refused before any work is done: counts, modalities, switches, option names. Pure."""

from typing import Any

import msgspec

from ...protocol.config import PreprocessorConfig
from ...protocol.errors import EngineError, RequestError, refuse
from ...protocol.request import (
    MODALITIES,
    ChatPrompt,
    Embeds,
    Encoded,
    MediaItem,
    Modality,
    PackedEmbeds,
    Prompt,
    Request,
    Text,
    TextPrompt,
    Url,
)
from .decode.options import CLIP_FACTS, background_of
from .families.base import Family

Options = dict[str, Any]

IO_OPTIONS: dict[Modality, frozenset[str]] = {
    "image": frozenset({"rgba_background_color"}),
    "video": frozenset({"num_frames", "max_duration", "frame_recovery", *CLIP_FACTS}),
    "audio": frozenset(),
}
ITEMS_PER_PROMPT = 999
SOUND_SWITCH = "use_audio_in_video"
"""A processor option of the prompt, not of its items: it puts more of them there."""


class Admission:
    """One engine's rules. Raises EngineError where the operator's own options break them."""

    def __init__(self, config: PreprocessorConfig, family: Family, longest_token: int | None = None) -> None:
        self._config = config
        self._family = family
        self._most_text = None if longest_token is None else config.max_model_len * longest_token
        """Characters; more cannot fit whatever they are, and need not be tokenised to know it."""
        self._known: frozenset[str] = frozenset().union(*family.options.values()) if family.options else frozenset()
        try:
            self._check_processor(config.processor_kwargs)
            self._check_io(config.io_kwargs)
        except RequestError as error:
            raise EngineError(error.failure.text) from error

    def check(self, request: Request) -> None:
        """Raises RequestError naming the part."""
        size = _characters(request.prompt)
        if self._most_text is not None and size > self._most_text:
            text = f"The prompt has {size} characters, far beyond the model's context of {self._config.max_model_len} tokens."
            raise refuse("invalid_request", text, code="context_length_exceeded")
        counts: dict[Modality, int] = {}
        for item in request.media:
            if item.modality not in self._family.placeholders:
                raise refuse("unsupported", f"This model takes no {item.modality} input.", item.where)
            index = counts.get(item.modality, 0)
            counts[item.modality] = index + 1
            if counts[item.modality] > (limit := self._limit(item.modality)):
                raise refuse(
                    "invalid_request",
                    f"At most {limit} {item.modality}(s) may be provided in one prompt. Raise it with --limit-mm-per-prompt.",
                    item.where,
                )
            if isinstance(item.source, Url):
                raise refuse("internal", "The item has not been fetched.", item.where)
            if isinstance(item.source, Embeds | PackedEmbeds) and not self._config.enable_embeds:
                raise refuse("unsupported", f"You must set --enable-mm-embeds to input {item.modality}_embeds", item.where)
            if item.source is None and item.uuid is None:
                name = item.modality
                raise refuse(
                    "invalid_request",
                    f"multi_modal_data['{name}'][{index}] is empty but multi_modal_uuids['{name}'][{index}] is missing.",
                    item.where,
                )
        self._check_processor(request.mm_processor_kwargs)
        self._check_io(request.media_io_kwargs)
        rates = request.mm_processor_kwargs.get("fps")
        if isinstance(rates, list) and len(rates) != counts.get("video", 0):
            text = f"fps is one number, or one per video: got {len(rates)} for {counts.get('video', 0)} videos."
            raise refuse("invalid_request", text, "mm_processor_kwargs")

    def hears_clips(self, request: Request) -> bool:
        """Whether the sound of clips is wanted."""
        return bool(request.mm_processor_kwargs.get(SOUND_SWITCH, self._config.processor_kwargs.get(SOUND_SWITCH)))

    def options(self, request: Request, index: int) -> tuple[Options, Options]:
        """(processor, io) options in effect for one item: the request's over the operator's, irrelevant ones left out."""
        modality = request.media[index].modality
        processor = {**self._config.processor_kwargs, **request.mm_processor_kwargs}
        if isinstance(processor.get("fps"), list):  # one per clip, as qwen-vl-utils returns them
            nth = sum(1 for earlier in request.media[:index] if earlier.modality == "video")
            processor["fps"] = processor["fps"][nth] if modality == "video" else None
        relevant = self._family.options.get(modality, frozenset())
        io = {**self._config.io_kwargs.get(modality, {}), **request.media_io_kwargs.get(modality, {})}
        return {name: value for name, value in processor.items() if name in relevant and value is not None}, io

    def _limit(self, modality: Modality) -> int:
        value = self._config.limits_per_prompt.get(modality, ITEMS_PER_PROMPT)
        if isinstance(value, dict):
            value = value.get("count", ITEMS_PER_PROMPT)
        return int(value)

    def _check_processor(self, options: Options) -> None:
        for name, value in options.items():
            if name == SOUND_SWITCH:
                if value not in (True, False, None):
                    raise refuse("invalid_request", f"{name} must be true or false.", "mm_processor_kwargs")
                if value and not self._family.hears_clips:
                    raise refuse("unsupported", f"{name}: this model hears no clips.", "mm_processor_kwargs")
            elif name == "fps" and isinstance(value, list) and name in self._known:
                for rate in value:
                    _check_value(name, rate, "mm_processor_kwargs")
            elif name not in self._known:
                known = ", ".join(sorted(self._known)) or "none"
                raise refuse("invalid_request", f"Unknown option {name!r}; this model's are: {known}.", "mm_processor_kwargs")
            elif value is not None:
                _check_value(name, value, "mm_processor_kwargs")

    def _check_io(self, options: dict[str, Options]) -> None:
        for modality, values in options.items():
            if modality not in MODALITIES or not isinstance(values, dict):
                raise refuse("invalid_request", f"Unsupported modality: {modality}", "media_io_kwargs")
            for name, value in values.items():
                if name not in IO_OPTIONS[modality]:
                    known = ", ".join(sorted(IO_OPTIONS[modality])) or "none"
                    raise refuse("invalid_request", f"Unknown {modality} option {name!r}; known: {known}.", "media_io_kwargs")
                if name == "rgba_background_color":
                    background_of(values)
                else:
                    _check_value(name, value, "media_io_kwargs")


def _check_value(name: str, value: Any, part: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match name:
        case "frame_recovery" | "do_sample_frames":
            fine, wanted = isinstance(value, bool), "true or false"
        case "fps" | "max_duration" | "duration":
            fine, wanted = number and 0 < value < 1e6, "a positive number"
        case "frames_indices":
            whole = isinstance(value, list | tuple) and all(type(v) is int and 0 <= v < 1 << 40 for v in value)
            fine, wanted = whole, "a list of whole numbers"
        case "num_frames":
            fine, wanted = (
                number and isinstance(value, int) and (value == -1 or value >= 1),
                "a positive whole number, or -1 for all",
            )
        case _:
            fine, wanted = number and isinstance(value, int) and value >= 1, "a positive whole number"
    if not fine:
        raise refuse("invalid_request", f"{name} must be {wanted}.", part)


def _characters(prompt: Prompt) -> int:
    match prompt:
        case TextPrompt(text):
            return len(text)
        case ChatPrompt(messages):
            return sum(len(part.text) for message in messages for part in message.content if isinstance(part, Text))
        case _:
            return 0


def with_tracks(request: Request) -> tuple[Request, dict[int, int]]:
    """The request with the sound of each of its clips as a further item of the same bytes; frames alone have none.

    Also where they are: index of the clip, index of its sound.
    """
    media: list[MediaItem] = list(request.media)
    tracks: dict[int, int] = {}
    for index, item in enumerate(request.media):
        if item.modality == "video" and (item.source is None or isinstance(item.source, Encoded)):
            tracks[index] = len(media)
            media.append(msgspec.structs.replace(item, modality="audio"))
    return msgspec.structs.replace(request, media=tuple(media)), tracks


def without_ids(request: Request) -> Request:
    """Where nothing is kept, ids name nothing (S20)."""
    return msgspec.structs.replace(request, media=tuple(msgspec.structs.replace(item, uuid=None) for item in request.media))
