"""One checkpoint's processor: features, run and positions of one item at a time."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from transformers import AutoTokenizer

from ...protocol.bounded import Bounded
from ...protocol.errors import EngineError, RequestError, refuse
from ...protocol.facts import Frame, PlaceholderFacts
from ...protocol.pixels import PixelForm
from ...protocol.requests.request import Modality
from ..inspection import hf
from .byte_patches import cut_bytes
from .calls import Answer, call, call_beside, call_in_pieces, small, sub_processor
from .clips import choose_frames
from .layouts import MOST, Layouts
from .loading import SAFE, load_processor
from .options import as_called, bounds_of, options_of
from .parts import choose_tower, features_of
from .pixels import RAW, find_forms, pack_item
from .placeholders import find_placeholders
from .positions import Planes, Prompt, rule_of
from .previews import Extent, preview
from .ready import Grid, blank, check_grid, unlike
from .resized import resized_of
from .rules import rules_of
from .runs import Run, embedding_ids, read_run, row_marks
from .sounds import unpadded
from .types import Clip, Options, Part, ProcessedItem

Samples = NDArray[np.float32]


def load(folder: str | Path, pixels: Mapping[Modality, PixelForm] | None = None) -> "Processor":
    """The processor of the checkpoint in `folder`. `pixels`: modalities whose items it makes as
    bytes.

    Raises EngineError naming what the folder lacks, or what transformers does not have.
    """
    return Processor(Path(folder), pixels or {})


class Processor:
    """Needs no device and no weights. Its answers do not depend on what it was asked before."""

    def __init__(self, folder: Path, pixels: Mapping[Modality, PixelForm]) -> None:
        self._folder = folder
        self._pixels = dict(pixels)
        """What is packed, and how often each pixel is there."""
        self._config = hf.load_config(folder)
        self._model = hf.model_class(self._config)
        self._processor = load_processor(folder, self._config)
        self._rules = rules_of(type(self._processor))
        self._ids = embedding_ids(self._config, self._processor)
        self._marks = row_marks(self._config)
        self._rule = rule_of(self._config, self._model)
        if not self._rules.leave_padding:
            unpadded(sub_processor(self._processor, "audio"))
        clips = sub_processor(self._processor, "video")
        if clips is not None and getattr(clips, "cap_pixels_per_frame", False) is None:
            clips.cap_pixels_per_frame = False  # what None comes to, without a warning
        form, cuts = pixels.get("image"), False
        if form is not None and form.repeats > 1:
            cuts = cut_bytes(sub_processor(self._processor, "image"))
        if form is not None and cuts:
            self._pixels["image"] = msgspec.structs.replace(form, repeats=1)
        is_usual = not self._rules.call and not self._rules.pieces
        self._layouts = Layouts(self._processor if is_usual else None, cuts)
        self._sizes: Bounded[tuple[Modality, Extent, bytes], int | None] = Bounded(MOST)
        """What `size` has said."""

    @cached_property
    def tokenizer(self) -> Any:
        """As transformers' class for the checkpoint makes it."""
        own = getattr(self._processor, "tokenizer", None)
        return AutoTokenizer.from_pretrained(self._folder, **SAFE) if own is None else own

    @cached_property
    def _named(self) -> dict[Modality, PlaceholderFacts]:
        if self._processor is None:
            return {}
        return find_placeholders(self._processor, self._config, self._ids)

    def placeholders(self) -> dict[Modality, PlaceholderFacts]:
        """Of what the model takes, beside text. Looks at a small item of each modality, so that one
        which the processor cannot take is found here and not at the first request. Raises
        EngineError."""
        found: dict[Modality, PlaceholderFacts] = {}
        for modality, facts in self._named.items():
            row = self.tried[modality].parts[0].embed_token_id
            words = [(self._word(mark), mark) for mark in self._marks]
            found[modality] = msgspec.structs.replace(
                facts,
                embed_token=self._word(row),
                embed_token_id=row,
                numbered=self._rules.numbered,
                apart=self._rules.apart,
                marks={word: mark for word, mark in words if isinstance(word, str)},
            )
        return found

    def _word(self, token_id: int) -> Any:
        return self._processor.tokenizer.convert_ids_to_tokens(token_id)

    @cached_property
    def tried(self) -> dict[Modality, ProcessedItem]:
        """A small item of each modality, without content. Raises EngineError for one that the
        processor cannot take."""
        return {modality: self._try(modality) for modality in self._named}

    def _try(self, modality: Modality) -> ProcessedItem:
        kind = type(self._processor).__name__
        try:
            made = self._item(modality, small(modality, self.sampling_rate), {}, False, None)
        except RequestError as error:
            text = f"{kind} does not take {modality} items as this checkpoint has them"
            raise EngineError(f"{text}: {error.__cause__}") from error.__cause__
        if made.rows < 1:
            text = f"No token in what {kind} writes for {modality} items is known as a row."
            raise EngineError(text)
        return made

    def marks(self, modality: Modality) -> tuple[int, ...]:
        """Token ids that the processor counts to an item of the modality: some count more than its
        rows."""
        ids = getattr(self._processor, f"{modality}_token_ids", ())
        return tuple(id for id in ids if id is not None)

    def options(self, modality: Modality) -> frozenset[str]:
        """Names in a request's processor options that change the modality's features."""
        return options_of(self._processor, modality) if modality in self._named else frozenset()

    def pixel_range(self, modality: Modality) -> tuple[int, int] | None:
        """Least and most pixels of a picture or frame where nobody says otherwise; None: the model
        takes no bounds."""
        if modality == "audio" or modality not in self._named:
            return None
        size = bounds_of(self._processor, modality)
        return None if size is None else (size["shortest_edge"], size["longest_edge"])

    @property
    def frame(self) -> Frame:
        """What the processor writes into every text."""
        return self._rules.frame(self.tokenizer)

    @property
    def siblings(self) -> Mapping[Modality, Modality]:
        """By modality of an item: another one of this modality in its prompt changes it."""
        return self._rules.siblings

    @property
    def sampling_rate(self) -> int:
        """Samples per second that sounds must have."""
        return int(getattr(sub_processor(self._processor, "audio"), "sampling_rate", 16000))

    @property
    def hears_clips(self) -> bool:
        """Whether a clip's sound can be laid between its frames."""
        return {"video", "audio"} <= self._named.keys() and hasattr(
            self._processor, "load_audio_from_video"
        )

    def item(
        self,
        modality: Modality,
        media: Image | Clip | Samples,
        options: Options,
        siblings: bool = False,
        sound: Samples | None = None,
        hollow: bool = False,
    ) -> ProcessedItem:
        """One item by itself. `siblings`: the prompt has another item of the modality that changes
        it. `sound`: a clip's own. `hollow`: nobody looks at its pixels.

        Raises RequestError for an item that the model cannot take, or options that contradict each
        other.
        """
        assert not isinstance(media, str)
        frames = len(media.frames) if isinstance(media, Clip) else 1
        called = self._called(modality, options, frames)
        form = self._pixels.get(modality)
        if form is not None:
            raw = self._item(modality, media, {**called, **RAW}, siblings, sound, hollow)
            if (made := pack_item(form, raw)) is not None:
                return made
        return self._item(modality, media, called, siblings, sound, hollow)

    def pixels(self) -> dict[Modality, PixelForm]:
        """Modalities whose features are bytes, scaled and shifted; each of the tower that takes
        them."""
        return find_forms(self._processor, self.tried, self._asked)

    def _asked(self, modality: Modality, media: Any, more: Options) -> tuple[str, dict[str, Any]]:
        """The tower that takes a small item, and what it takes."""
        frames = len(media.frames) if isinstance(media, Clip) else 1
        called = self._called(modality, {}, frames) | more
        (part,) = self._item(modality, media, called, False, None).parts
        return part.kind, part.tensors

    def frames(self, total: int, fps: float | None, options: Options) -> list[int] | None:
        """Indices, never falling, of the frames of a clip that the checkpoint's own processor looks
        at: no other need be decoded. `total` frames at `fps` a second. None: it does not choose by
        itself."""
        clips = sub_processor(self._processor, "video")
        return None if clips is None else choose_frames(clips, total, fps, options)

    def size(
        self, modality: Modality, extent: Extent, options: Options, siblings: bool = False
    ) -> int | None:
        """At least so many tokens an item takes, known before any work on it; None: its class does
        not say."""
        if modality not in self._named or (siblings and modality in self.siblings):
            return None
        key = modality, extent, msgspec.json.encode(options, order="sorted")
        if key not in self._sizes:
            frames = extent[0] if isinstance(extent, tuple) and len(extent) == 3 else 1
            called = self._called(modality, options, frames)
            self._sizes[key] = preview(self._processor, modality, extent, called)
        return self._sizes[key]

    def resized(
        self, modality: Modality, made: ProcessedItem, options: Options
    ) -> tuple[int, int] | None:
        """(height, width) of a picture or a clip's frames as their encoder takes them; None: they
        have no one size there, or only a part of them is seen."""
        if modality not in self._named or modality == "audio":
            return None
        part = sub_processor(self._processor, made.parts[0].kind)
        return resized_of(part, made.parts[0], options)

    def ready(
        self, modality: Modality, rows: int, grid: Grid | None, options: Options
    ) -> ProcessedItem:
        """The run of an embedding of `rows` rows that the caller made: without tensors, and with
        the rows that it must have.

        Raises RequestError for a grid that is missing, that the tower never makes, or that does not
        fit the rows, and where the model divides items in ways that rows alone do not tell.
        """
        called = self._called(modality, options)
        check_grid(self._processor, modality, grid, rows)
        media, kept = blank(self._processor, modality, grid, options)
        made = self._item(modality, media, {**called, **kept}, False, None)
        (part,) = made.parts
        made = replace(made, parts=(replace(part, tensors={}),))
        if grid is not None:
            return made
        other = self._item(modality, unlike(modality, self.sampling_rate), called, False, None)
        if len(made.counts) != 1 or other.text != made.text:
            text = (
                f"This model divides {modality} items by their size, which rows do not tell; "
                f"send the {modality} itself."
            )
            raise refuse("unsupported", text)
        if other.rows != made.rows:  # items of the modality are not all equally long
            whole = replace(part, tensors={}, rows=rows)
            made = replace(made, counts=(rows,), parts=(whole,), advance=rows)
        return made

    def _called(self, modality: Modality, options: Options, frames: int = 1) -> Options:
        """Options in effect for one item, as the processor's call takes them. RequestError for a
        modality that is not taken."""
        if modality not in self._named:
            raise refuse("unsupported", f"This model takes no {modality} items.")
        known = self.options(modality)
        asked = {name: value for name, value in options.items() if name in known}
        asked = {name: value for name, value in asked.items() if value is not None}
        return as_called(self._processor, modality, asked, frames)

    def _item(
        self,
        modality: Modality,
        media: Any,
        called: Options,
        siblings: bool,
        sound: Samples | None,
        hollow: bool = False,
    ) -> ProcessedItem:
        with warnings.catch_warnings():
            # Of what transformers will call otherwise one day: nothing that a caller did.
            warnings.simplefilter("ignore")
            if modality != "image" or (siblings and modality in self.siblings):
                return self._made(modality, media, called, siblings, sound)
            if (known := self._layouts.fill(media, called, hollow)) is not None:
                return known
            made = self._made(modality, media, called, siblings, sound)
            self._layouts.learn(media, called, made, hollow)
            return made

    def _made(
        self, modality: Modality, media: Any, called: Options, siblings: bool, sound: Samples | None
    ) -> ProcessedItem:
        answer = self._answer(modality, media, called, siblings, sound)
        run = read_run(
            answer.replacement, self._processor.tokenizer, (*self._ids.values(), *self._marks)
        )
        planes = self._planes(modality, answer, run, sound is not None)
        return ProcessedItem(
            text=run.text,
            counts=run.counts,
            parts=self._parts(modality, answer, run, siblings, sound is not None),
            planes=None if planes is None else planes.values,
            advance=len(run.token_ids) if planes is None else planes.advance,
            anchors=None if planes is None else planes.anchors,
            number=self._rules.number if modality in self._rules.number_kinds else "",
        )

    def _answer(
        self, modality: Modality, media: Any, called: Options, siblings: bool, sound: Samples | None
    ) -> Answer:
        text = self._named[modality].text
        try:
            if self._rules.pieces:
                return call_in_pieces(self._processor, media, self._config.audio_config)
            if siblings and self.siblings.get(modality) == modality:
                return call_beside(self._processor, media, text, called)
            more, rate = self._rules.call, self.sampling_rate
            return call(self._processor, modality, media, text, called, more, rate, sound)
        except (ValueError, TypeError, IndexError, ArithmeticError, RuntimeError) as error:
            raise refuse(
                "unprocessable_media", f"The model's processor does not take this {modality}."
            ) from error

    def _marked(self, run: Run, row: int) -> dict[str, NDArray[Any]]:
        """Of a model with marks that are rows: which of them each row is, -1 where it is none."""
        if not self._marks:
            return {}
        places = dict(zip((row, *self._marks), range(-1, len(self._marks)), strict=True))
        return {"marks": np.array([places[id] for id in run.token_ids if id in places])}

    def _told(self, modality: Modality, siblings: bool) -> dict[str, NDArray[Any]]:
        """What only the tower makes otherwise in company."""
        is_told = siblings and self.siblings.get(modality, modality) != modality
        return {"siblings": np.ones(1, np.bool_)} if is_told else {}

    def _parts(
        self, modality: Modality, answer: Answer, run: Run, siblings: bool, heard: bool
    ) -> tuple[Part, ...]:
        features = features_of(answer.values)
        if not heard:
            row = max(set(run.stretches), key=run.rows, default=-1)
            kind, tensors = choose_tower(self._model, modality, features)
            tensors = tensors | self._marked(run, row) | self._told(modality, siblings)
            return (Part(kind, tensors, run.rows(row, *self._marks), row),)
        found = []
        for part in ("video", "audio"):
            kind, tensors = choose_tower(self._model, part, features, company=True)
            row = self._ids[kind]
            found.append(Part(kind, tensors, run.rows(row), row))
        return tuple(found)

    def _planes(self, modality: Modality, answer: Answer, run: Run, heard: bool) -> Planes | None:
        """None: as of text, one by one."""
        if self._rule is None:
            return None
        token, text = self._named[modality].token, self._named[modality].text
        before, after = (
            self._processor.tokenizer(part, add_special_tokens=False)["input_ids"]
            for part in text.split(token)
        )
        token_ids = (*before, *run.token_ids, *(after or [0]))
        types = tuple(self._processor.create_mm_token_type_ids([list(token_ids)])[0])
        prompt = Prompt(token_ids, types, (len(before), len(before) + len(run.token_ids)))
        if self._rules.absolute_planes:
            return self._rule.anchored_planes(prompt, answer.values)
        planes = self._rule.planes(prompt, answer.values, heard)
        is_long = planes.advance == len(run.token_ids)
        return None if is_long and (planes.values == np.arange(planes.advance)).all() else planes
