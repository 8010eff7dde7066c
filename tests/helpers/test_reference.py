"""The oracle is worth asking: it looks at its media, and it never says one thing for ever."""

from typing import Any

import pytest

from .checkpoints import FAMILIES, Checkpoints, Family
from .media import clip, clip_frames, picture, sound
from .reference import NO_MEDIA, Media, reference_for

pytestmark = pytest.mark.timeout(120)


def ask(*parts: str) -> list[dict[str, Any]]:
    content = [
        {"type": part} if part in ("image", "video", "audio") else {"type": "text", "text": part}
        for part in parts
    ]
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize("family", FAMILIES)
def test_output_is_not_constant(family: Family, checkpoints: Checkpoints) -> None:
    reference = reference_for(checkpoints(family))
    answers = [
        reference.answer(reference.prompt(ask(text)), NO_MEDIA)
        for text in ("hi", "what is it?", "one two three")
    ]
    assert len({tuple(answer.token_ids) for answer in answers}) == 3
    assert all(len(set(answer.token_ids)) >= 5 for answer in answers)


@pytest.mark.parametrize("family", FAMILIES)
def test_another_picture_gives_other_tokens(family: Family, checkpoints: Checkpoints) -> None:
    reference = reference_for(checkpoints(family))
    prompt = reference.prompt(ask("image", "image", "which?"))
    here = reference.answer(prompt, Media(images=(picture(1), picture(2))))
    there = reference.answer(prompt, Media(images=(picture(2), picture(1))))
    assert here.prompt_token_ids == there.prompt_token_ids
    assert here.token_ids != there.token_ids


@pytest.mark.parametrize("family", ["qwen_omni", "qwen_vl"])
def test_a_reversed_clip_gives_other_tokens(family: Family, checkpoints: Checkpoints) -> None:
    reference = reference_for(checkpoints(family))
    prompt, frames = reference.prompt(ask("video", "what?")), clip_frames(clip(1))
    here, there = (
        reference.answer(prompt, Media(videos=(shown,))) for shown in (frames, frames[::-1])
    )
    assert here.token_ids != there.token_ids


def test_another_sound_gives_other_tokens(checkpoints: Checkpoints) -> None:
    reference = reference_for(checkpoints("qwen_omni"))
    prompt = reference.prompt(ask("audio", "what?"))
    here, there = (reference.answer(prompt, Media(audio=(sound(seed),))) for seed in (1, 2))
    assert here.token_ids != there.token_ids


def test_an_end_can_be_ignored_and_the_logits_of_any_output_be_had(
    checkpoints: Checkpoints,
) -> None:
    reference = reference_for(checkpoints("llava"))
    answer = reference.answer("hello", max_tokens=40, ignore_eos=True)
    assert len(answer.token_ids) == 40
    logits = reference.logits_after("hello", NO_MEDIA, answer.token_ids[:17])
    assert int(logits.argmax()) == answer.token_ids[17]
    best = logits.topk(2).values
    assert float(best[0] - best[1]) == pytest.approx(answer.gaps[17], abs=1e-5)
