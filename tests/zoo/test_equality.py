"""The published forms: what is read from each folder gives, through towers and runner, transformers' own greedy tokens."""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thespis.gpu_runtime.encoder import Encoder, load_encoder
from thespis.gpu_runtime.facts import model_facts
from thespis.gpu_runtime.processing import Clip, ProcessedItem, Processor, load
from thespis.gpu_runtime.runner import Runner
from thespis.protocol.facts import ModelFacts
from thespis.protocol.request import Modality

from ..gpu_runtime.driving import Driver, Prompt, runner_config
from ..gpu_runtime.processing.conversations import compose, splice
from ..helpers.media import CLIP_FPS, clip, clip_frames, picture, sound
from ..helpers.reference import NO_MEDIA, Media
from .catalog import NAMES, Zoo, animal
from .reference import Answer, Reference, reference_for

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
TOKENS = 10
CHUNK = 23
PRESENT = [name for name in NAMES if animal(name).native and not animal(name).needs]
SHOWN: dict[Modality, Media] = {
    "image": Media(images=(picture(1, 90, 60), picture(2, 56, 80))),
    "video": Media(videos=(clip_frames(clip(3, 4, 60, 90)),)),
    "audio": Media(audio=(sound(1, 1.3),)),
}
"""Of each modality: two pictures of different sizes, a clip, a sound."""


MENDED_FAILS = {
    name: pytest.mark.xfail(strict=True, reason=reason)
    for name, reason in {
        "granite_docling": "its deepstack rows are not found",
        "lighton_ocr": "its type says one class and its architectures another",
        "ovis2": "its marks between tiles have embeddings of their own",
        "voxtral": "its processor takes no text with sounds",
    }.items()
}
"""What docs/models.md says of them too. Who mends one takes it out."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=MENDED_FAILS.get(name, ())) for name in PRESENT])
def test_greedy_tokens_are_those_of_transformers(name: str, zoo: Zoo) -> None:
    """A text, and a prompt of each modality, all in one batch and in pieces."""
    folder = zoo(name)
    reference = reference_for(name, folder)
    asked: list[tuple[Prompt, Answer]] = []
    for media in (NO_MEDIA, *(SHOWN[kind] for kind in MODALITIES if kind in reference.animal.takes)):
        text = reference.text(messages(reference, media))
        answer = reference.answer(text, media, TOKENS)
        assert answer.safe >= 2, "draw another"
        asked.append((prompt_of(folder, reference, text, media), answer))
    for prompt, answer in asked:
        assert prompt.token_ids == answer.prompt_token_ids
    driver = Driver(Runner(runner_config(folder)))
    running = [driver.start(prompt) for prompt, _ in asked]
    while any(len(one.output) < TOKENS for one in running):
        waiting = [one for one in running if len(one.output) < TOKENS]
        result = driver.step([(one, min(CHUNK, len(one.tokens) - one.computed)) for one in waiting])
        assert not result.faults
    for one, (_, answer) in zip(running, asked, strict=True):
        assert one.output[: answer.safe] == answer.token_ids[: answer.safe]


MODALITIES: tuple[Modality, ...] = ("image", "video", "audio")


def messages(reference: Reference, media: Media) -> list[dict[str, Any]]:
    if not reference.animal.takes:
        return [{"role": "user", "content": "What is it, and why?"}]
    marks = [*["image"] * len(media.images), *["video"] * len(media.videos), *["audio"] * len(media.audio)]
    parts = [{"type": mark} for mark in marks]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "What is it, and why?"}]}]


def prompt_of(folder: Path, reference: Reference, text: str, media: Media) -> Prompt:
    """Each item by itself, spliced into the text; rows by the towers."""
    items = [(kind, one) for kind, several in zip(MODALITIES, media, strict=True) for one in several]
    if not items:
        return Prompt(reference.inputs(text)["input_ids"][0].tolist())
    facts, processor, encoder = _parts(folder)
    kind = items[0][0]
    made = [processor.item(kind, _medium(kind, one), {}, siblings=len(items) > 1) for _, one in items]
    tokenizer = partial(reference.tokenizer, add_special_tokens=not reference.has_bos(text))
    ids, runs = splice(text, facts.placeholders[kind].token, made, tokenizer)
    prompt = Prompt(ids)
    if any(item.planes is not None for item in made):
        planes = compose(len(ids), runs, made, facts.position_planes)
        prompt.positions = planes.astype("<i4").tobytes()
        prompt.delta = int(planes.max()) + 1 - len(ids)
    for (start, end), item in zip(runs, made, strict=True):
        prompt.embeds += _rows(encoder, ids, start, end, item)
    return prompt


@cache
def _parts(folder: Path) -> tuple[ModelFacts, Processor, Encoder]:
    facts = model_facts(folder)
    return facts, load(folder), load_encoder(facts, "float32", "cpu", 1)


def _medium(kind: Modality, one: Any) -> Any:
    return Clip(one, float(CLIP_FPS)) if kind == "video" else one


def _rows(encoder: Encoder, ids: Sequence[int], start: int, end: int, item: ProcessedItem) -> list[tuple[int, torch.Tensor]]:
    """Runs of neighbouring embedding tokens with their rows."""
    found: list[tuple[int, torch.Tensor]] = []
    for part in item.parts:
        tensors = {name: torch.from_numpy(value) for name, value in part.tensors.items()}
        [rows] = encoder.encode(part.kind, [tensors], [part.rows])
        places = np.array([place for place in range(start, end) if ids[place] == part.embed_token_id])
        assert len(places) == len(rows)
        cuts = np.flatnonzero(np.diff(places) != 1) + 1
        found += [(int(run[0]), piece) for run, piece in zip(np.split(places, cuts), _split(rows, cuts), strict=True)]
    return found


def _split(rows: torch.Tensor, cuts: Any) -> tuple[torch.Tensor, ...]:
    return torch.tensor_split(rows, torch.from_numpy(cuts.copy()))
