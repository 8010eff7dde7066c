"""What is refused before any work is done: counts, modalities, switches, option names. Pure."""

from typing import Any

from ...protocol.config import PreprocessorConfig
from ...protocol.errors import EngineError, RequestError, refuse
from ...protocol.request import MODALITIES, Embeds, Modality, Request, Url
from .decode.image_options import background_of
from .families.base import Family

Options = dict[str, Any]

IO_OPTIONS: dict[Modality, frozenset[str]] = {
    "image": frozenset({"rgba_background_color"}),
    "video": frozenset({"num_frames", "fps", "max_duration", "frame_recovery"}),
    "audio": frozenset(),
}
ITEMS_PER_PROMPT = 999
_SWITCHES_OFF = frozenset({"use_audio_in_video"})
"""Processor options that are known and may only be false."""


class Admission:
    """One engine's rules. Raises EngineError where the operator's own options break them."""

    def __init__(self, config: PreprocessorConfig, family: Family) -> None:
        self._config = config
        self._family = family
        self._known: frozenset[str] = frozenset().union(*family.options.values()) if family.options else frozenset()
        try:
            self._check_processor(config.processor_kwargs)
            self._check_io(config.io_kwargs)
        except RequestError as error:
            raise EngineError(error.failure.text) from error

    def check(self, request: Request) -> None:
        """Raises RequestError naming the part."""
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
            if isinstance(item.source, Embeds) and not self._config.enable_embeds:
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

    def options(self, request: Request, modality: Modality) -> tuple[Options, Options]:
        """(processor, io) options in effect for one modality: the request's over the operator's, irrelevant ones left out."""
        processor = {**self._config.processor_kwargs, **request.mm_processor_kwargs}
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
            if name in _SWITCHES_OFF:
                if value:
                    raise refuse("unsupported", f"{name} is not supported.", "mm_processor_kwargs")
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
        case "frame_recovery":
            fine, wanted = isinstance(value, bool), "true or false"
        case "fps" | "max_duration":
            fine, wanted = number and 0 < value < 1e6, "a positive number"
        case "num_frames":
            fine, wanted = (
                number and isinstance(value, int) and (value == -1 or value >= 1),
                "a positive whole number, or -1 for all",
            )
        case _:
            fine, wanted = number and isinstance(value, int) and value >= 1, "a positive whole number"
    if not fine:
        raise refuse("invalid_request", f"{name} must be {wanted}.", part)
