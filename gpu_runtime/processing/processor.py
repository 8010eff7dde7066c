"""One checkpoint's processor: features, run and positions of one item at a time."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from ...protocol.errors import RequestError, refuse
from ...protocol.facts import PlaceholderFacts
from ...protocol.request import Modality
from .. import hf
from .calls import Answer, call, call_beside, sub_processor
from .loading import load_processor
from .options import as_called, options_of, size_of
from .parts import choose, features_of
from .placeholders import find_placeholders
from .positions import Planes, rule_of
from .rules import rules_of
from .runs import Run, embedding_ids, take_apart
from .sounds import unpadded
from .types import Clip, Kind, Options, Part, ProcessedItem

Samples = NDArray[np.float32]


def load(folder: str | Path, overrides: Mapping[str, Any] | None = None) -> "Processor":
    """The processor of the checkpoint in `folder`; `overrides` are options of every item that has none of its own.

    Raises EngineError naming what the folder lacks, or what transformers does not have.
    """
    return Processor(Path(folder), dict(overrides or {}))


class Processor:
    """Needs no device and no weights. Its answers do not depend on what it was asked before."""

    def __init__(self, folder: Path, overrides: Options) -> None:
        self._config = hf.load_config(folder)
        self._model = hf.model_class(self._config)
        self._overrides = overrides
        self._processor = load_processor(folder, self._config)
        self._rules = rules_of(self._processor)
        self._ids = embedding_ids(self._config)
        self._rule = rule_of(self._config, self._model)
        if not self._rules.leave_padding:
            unpadded(sub_processor(self._processor, "audio"))
        clips = sub_processor(self._processor, "video")
        if clips is not None and getattr(clips, "cap_pixels_per_frame", False) is None:
            clips.cap_pixels_per_frame = False  # what None comes to, without a warning

    @cached_property
    def _named(self) -> dict[Modality, PlaceholderFacts]:
        return {} if self._processor is None else find_placeholders(self._processor, self._config, self._ids)

    def placeholders(self) -> dict[Modality, PlaceholderFacts]:
        """Of what the model takes, beside text."""
        return dict(self._named)

    def options(self, modality: Modality) -> frozenset[str]:
        """Names in a request's processor options that change the modality's features."""
        return options_of(self._processor, modality) if modality in self._named else frozenset()

    def pixel_range(self, modality: Modality) -> tuple[int, int] | None:
        """Least and most pixels of a picture or frame where nobody says otherwise; None: the model takes no bounds."""
        if modality == "audio" or modality not in self._named:
            return None
        size = size_of(self._processor, modality)
        return None if size is None else (size["shortest_edge"], size["longest_edge"])

    @property
    def siblings(self) -> tuple[Kind, ...]:
        """Modalities of which an item's features depend on whether the prompt has more than one."""
        return self._rules.siblings

    @property
    def sampling_rate(self) -> int:
        """Samples per second that sounds must have."""
        return int(getattr(sub_processor(self._processor, "audio"), "sampling_rate", 16000))

    @property
    def hears_clips(self) -> bool:
        """Whether a clip's sound can be laid between its frames."""
        return {"video", "audio"} <= self._named.keys() and hasattr(self._processor, "load_audio_from_video")

    def item(
        self,
        modality: Modality,
        media: Image | Clip | Samples,
        options: Options,
        siblings: bool = False,
        sound: Samples | None = None,
    ) -> ProcessedItem:
        """One item by itself. `siblings`: the prompt has more items of the modality. `sound`: of a clip, its own.

        Raises RequestError for an item that the model cannot take, or options that contradict each other.
        """
        if modality not in self._named:
            raise refuse("unsupported", f"This model takes no {modality} items.")
        assert not isinstance(media, str)
        answer = self._answer(modality, media, {**self._overrides, **options}, siblings, sound)
        run = take_apart(answer.replacement, self._processor.tokenizer, self._ids.values())
        parts = self._parts(modality, answer, run, sound is not None)
        planes = self._planes(modality, answer, run, sound is not None)
        return ProcessedItem(
            text=run.text,
            counts=run.counts,
            parts=parts,
            planes=None if planes is None else planes.values,
            advance=len(run.token_ids) if planes is None else planes.advance,
            number=self._rules.number,
        )

    def _answer(self, modality: Modality, media: Any, options: Options, siblings: bool, sound: Samples | None) -> Answer:
        known = {name: value for name, value in options.items() if name in self.options(modality) and value is not None}
        called = {**as_called(self._processor, modality, known), **self._rules.call}
        text = self._named[modality].text
        try:
            if siblings and modality in self.siblings:
                return call_beside(self._processor, media, text, called)
            return call(self._processor, modality, media, text, called, self.sampling_rate, sound)
        except RequestError:
            raise
        except (ValueError, TypeError, IndexError, ZeroDivisionError) as error:
            raise refuse("unprocessable_media", f"The model's processor does not take this {modality}.") from error

    def _parts(self, modality: Modality, answer: Answer, run: Run, heard: bool) -> tuple[Part, ...]:
        features = features_of(answer.values)
        if not heard:
            row = max(set(run.stretches), key=run.rows, default=-1)
            kind, tensors = choose(self._model, modality, features)
            return (Part(kind, tensors, run.rows(row), row),)
        found = []
        for part in ("video", "audio"):
            kind, tensors = choose(self._model, part, features)
            row = self._ids[kind]
            found.append(Part(kind, tensors, run.rows(row), row))
        return tuple(found)

    def _planes(self, modality: Modality, answer: Answer, run: Run, heard: bool) -> Planes | None:
        """None: as of text, one by one."""
        if self._rule is None:
            return None
        token, text = self._named[modality].token, self._named[modality].text
        marks = [self._processor.tokenizer(part, add_special_tokens=False)["input_ids"] for part in text.split(token)]
        before, after = marks[0], marks[1][0] if marks[1] else 0
        types = self._processor.create_mm_token_type_ids([[*before, *run.token_ids, after]])[0]
        planes = self._rule.planes(before, run.token_ids, after, types, answer.values, heard)
        plain = planes.advance == len(run.token_ids) and (planes.values == np.arange(planes.advance)).all()
        return None if plain else planes
