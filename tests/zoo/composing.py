"""A request as the engine's parts make it, in one process: each item by itself, spliced into the
text, its rows by the towers, its tokens by the runner in pieces, together with other requests.
"""

from collections.abc import Collection, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from thespis.actors.preprocessor.assembly import unbroken
from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.models.encoder import Encoder, load_encoder
from thespis.gpu_runtime.processing import Clip, ProcessedItem, Processor, load
from thespis.gpu_runtime.runner.runner import Runner
from thespis.protocol.facts import ModelFacts
from thespis.protocol.requests.request import Modality
from thespis.protocol.requests.sampling import SamplingParams

from ..gpu_runtime.driving import Driver, Prompt, Running, runner_config
from ..gpu_runtime.processing.conversations import compose, splice
from ..helpers.media import CLIP_FPS, clip, clip_frames, picture, sound
from ..helpers.reference import NO_MEDIA, Media
from .reference import Answer, Reference

CHUNK = 23
"""Tokens of one sequence in one step."""
LONGEST = 2048
"""Tokens of any sequence: of a model's whole context the memory here would not hold two."""
CLOSE = 1e-4
"""How far log-probabilities of a first token may lie from transformers'."""
SCORED = SamplingParams(temperature=0.0, logprobs=5)
MODALITIES: tuple[Modality, ...] = ("image", "video", "audio")
SHOWN: dict[Modality, Media] = {
    "image": Media(images=(picture(1, 90, 60), picture(2, 56, 80))),
    "video": Media(videos=(clip_frames(clip(3, 4, 60, 90)),)),
    "audio": Media(audio=(sound(1, 1.3),)),
}
"""Of each modality: two pictures of different sizes, a clip, a sound."""


class Asked(NamedTuple):
    prompt: Prompt
    answer: Answer


@cache
def ask_all(folder: Path, reference: Reference, tokens: int) -> list[Asked]:
    """A text, and a prompt of each modality, with what transformers alone answers."""
    asked = []
    for media in (
        NO_MEDIA,
        *(SHOWN[kind] for kind in MODALITIES if kind in reference.animal.takes),
    ):
        text = reference.text(_messages(reference, media))
        asked.append(
            Asked(prompt_of(folder, reference, text, media), reference.answer(text, media, tokens))
        )
    return asked


class Said(NamedTuple):
    token_ids: list[int]
    first: dict[int, float]
    """Of the first, the likeliest tokens with their log-probabilities."""

    def apart(self, answer: Answer) -> float:
        """How far the first's log-probabilities lie from transformers', at most."""
        return max(abs(value - answer.first[token].item()) for token, value in self.first.items())


def run_all(folder: Path, asked: Sequence[Asked], tokens: int, **settings: Any) -> list[Said]:
    """What the runner says to all of them in one batch."""
    config = runner_config(
        folder, max_model_len=min(model_facts(folder).context, LONGEST), **settings
    )
    driver = Driver(Runner(config))
    running = [driver.start(one.prompt) for one in asked]
    first: dict[int, dict[int, float]] = {}
    while waiting := [one for one in running if len(one.output) < tokens]:
        result = driver.step([(one, _piece(one, config.model)) for one in waiting], SCORED)
        assert not result.faults, result.faults
        for one in result.sampled:
            if one.logprobs is not None:
                first.setdefault(one.seq, dict(one.logprobs.top))
    return [Said(one.output, first[one.seq]) for one in running]


def _piece(running: Running, facts: ModelFacts) -> int:
    """Tokens of the next step: as the scheduler, not through the middle of what must stay whole."""
    end = min(running.computed + CHUNK, len(running.tokens))
    for first, last in unbroken(running.prompt.token_ids, facts):
        if first < end < last:
            end = first if first > running.computed else last
    return end - running.computed


def _messages(reference: Reference, media: Media) -> list[dict[str, Any]]:
    if not reference.animal.takes:
        return [{"role": "user", "content": "What is it, and why?"}]
    marks = [
        *["image"] * len(media.images),
        *["video"] * len(media.videos),
        *["audio"] * len(media.audio),
    ]
    parts = [{"type": mark} for mark in marks]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "What is it, and why?"}]}]


def prompt_of(folder: Path, reference: Reference, text: str, media: Media) -> Prompt:
    """Each item by itself, spliced into the text; rows by the towers."""
    items = [
        (kind, one) for kind, several in zip(MODALITIES, media, strict=True) for one in several
    ]
    if not items:
        return Prompt(reference.inputs(text)["input_ids"][0].tolist())
    facts, processor, encoder = _parts(folder)
    kind = items[0][0]
    made = [
        processor.item(kind, _medium(kind, one), {}, siblings=len(items) > 1) for _, one in items
    ]
    tokenizer = partial(reference.tokenizer, add_special_tokens=not reference.has_bos(text))
    ids, runs = splice(_framed(text, facts), facts.placeholders[kind], made, tokenizer)
    prompt = Prompt(ids)
    if any(item.planes is not None for item in made):
        planes = compose(len(ids), runs, made, facts.position_planes)
        prompt.positions = planes.astype("<i4").tobytes()
        prompt.delta = int(planes.max()) + 1 - len(ids)
    for (start, end), item in zip(runs, made, strict=True):
        prompt.embeds += _rows(
            encoder, ids, start, end, item, facts.placeholders[kind].marks.values()
        )
    return prompt


def _framed(text: str, facts: ModelFacts) -> str:
    ends = [
        text.rfind(place.token) + len(place.token)
        for place in facts.placeholders.values()
        if place.token in text
    ]
    at = max(ends, default=0)  # of numbered ones the text has other words
    return facts.frame.begin + text[:at] + facts.frame.behind_items + text[at:] + facts.frame.end


@cache
def _parts(folder: Path) -> tuple[ModelFacts, Processor, Encoder]:
    facts = model_facts(folder)
    return facts, load(folder), load_encoder(facts, "float32", "cpu", 1)


def _medium(kind: Modality, one: Any) -> Any:
    return Clip(one, float(CLIP_FPS)) if kind == "video" else one


def _rows(
    encoder: Encoder,
    ids: Sequence[int],
    start: int,
    end: int,
    item: ProcessedItem,
    marks: Collection[int],
) -> list[tuple[int, torch.Tensor]]:
    """Runs of neighbouring tokens that are rows, with these; `marks`: such tokens beside the one of
    each part."""
    found: list[tuple[int, torch.Tensor]] = []
    for part in item.parts:
        tensors = {name: torch.from_numpy(value) for name, value in part.tensors.items()}
        [rows] = encoder.encode(part.kind, [tensors], [part.rows])
        places = np.array(
            [place for place in range(start, end) if ids[place] in (part.embed_token_id, *marks)]
        )
        assert len(places) == len(rows)
        cuts = np.flatnonzero(np.diff(places) != 1) + 1
        found += [
            (int(run[0]), piece)
            for run, piece in zip(np.split(places, cuts), _split(rows, cuts), strict=True)
        ]
    return found


def _split(rows: torch.Tensor, cuts: Any) -> tuple[torch.Tensor, ...]:
    return torch.tensor_split(rows, torch.from_numpy(cuts.copy()))
