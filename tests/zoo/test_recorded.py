"""What vLLM 0.32 (its build for CPUs, float32, greedy) answered on the same checkpoints, as
recorded in `recorded.json`.

Code of a checkpoint stood in there for processors that it does not bring along: what turns pictures
into slices and sounds into mel was that of `own`; prompts, towers, projectors and text models were
vLLM's. Phi-3.5-vision's sizes are constants of vLLM's `phi3v.py`: it ran in a copy with this
checkpoint's. How rotary positions are scaled vLLM chooses for all prompts alike, by
`max_model_len`: it was `original_max_position_embeddings`, but for the one prompt that is longer
than these.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from ..helpers.media import picture, sound
from ..helpers.reference import Media
from .catalog import Zoo
from .composing import CLOSE, Asked, prompt_of, run_all
from .reference import reference_for

CASES = json.loads(Path(__file__).with_name("recorded.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['name']} {case['words'][-2]}")
def test_the_answers_of_another_engine(case: dict[str, Any], zoo: Zoo) -> None:
    folder = zoo(case["name"])
    reference = reference_for(case["name"], folder)
    media = Media(
        tuple(picture(*one) for one in case["pictures"]),
        (),
        tuple(sound(*one) for one in case["sounds"]),
    )
    parts = [
        {"type": kind}
        for kind, shown in zip(("image", "video", "audio"), media, strict=True)
        for _ in shown
    ]
    text = reference.text(
        [{"role": "user", "content": [*parts, {"type": "text", "text": case["words"]}]}]
    )
    prompt = prompt_of(folder, reference, text, media)
    assert prompt.token_ids == case["prompt"]
    count = len(case["answer"])
    truth = reference.answer(text, media, count)
    assert truth.token_ids == case["answer"]
    [said] = run_all(folder, [Asked(prompt, truth)], count)
    assert said.token_ids == case["answer"]
    for token, logprob in case.get(
        "first", {}
    ).items():  # of the first token, where it was recorded
        assert truth.first[int(token)] == pytest.approx(logprob, abs=CLOSE)
        assert said.first[int(token)] == pytest.approx(logprob, abs=CLOSE)
