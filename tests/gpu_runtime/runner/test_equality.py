"""However a request is cut, mixed, moved and recomputed: its greedy tokens are transformers'
own."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from thespis.gpu_runtime.runner.runner import Runner

from ...helpers.checkpoints import FAMILIES, Checkpoints, Family
from ...helpers.media import clip, clip_frames, picture, sound
from ...helpers.reference import NO_MEDIA, Media, Reference, reference_for
from ..driving import BLOCK, Driver, Prompt, Running, encoder_for, make_prompt, runner_config

pytestmark = pytest.mark.timeout(120)
OUTPUT = 10


def ask(*parts: str) -> list[dict[str, Any]]:
    content = [
        {"type": part} if part in ("image", "video", "audio") else {"type": "text", "text": part}
        for part in parts
    ]
    return [{"role": "user", "content": content}]


def requests(family: Family) -> list[tuple[list[dict[str, Any]], Media]]:
    made: list[tuple[list[dict[str, Any]], Media]] = [
        (ask("hi"), NO_MEDIA),
        (
            ask("a longer question than the others, so that it is prefilled in many pieces"),
            NO_MEDIA,
        ),
        (ask("image", "what is it?"), Media(images=(picture(1),))),
        (ask("first", "image", "then", "image", "which?"), Media(images=(picture(2), picture(3)))),
        (ask("image", "and this?"), Media(images=(picture(4),))),
    ]
    if family != "llava":
        made.append((ask("video", "what moves?"), Media(videos=(clip_frames(clip(1)),))))
    if family == "qwen_omni":
        made.append((ask("audio", "what sounds?"), Media(audio=(sound(1),))))
        made.append((ask("image", "audio", "both"), Media(images=(picture(5),), audio=(sound(2),))))
    return made


def prompts_and_answers(family: Family, folder: Path) -> list[tuple[Prompt, list[int]]]:
    """Only requests whose every choice is clear: at a near tie another order of the same sums may
    decide otherwise."""
    reference, encoder = reference_for(folder), encoder_for(folder)
    found = []
    for messages, media in requests(family):
        text = reference.prompt(messages)
        answer = reference.answer(text, media, OUTPUT)
        if answer.safe:
            prompt = make_prompt(reference, encoder, text, media)
            assert prompt.token_ids == answer.prompt_token_ids
            found.append((prompt, answer.token_ids))
    assert len(found) >= 3
    return found


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "transformers"])
@pytest.mark.parametrize("family", FAMILIES)
def test_staggered_chunked_preempted_requests_equal_generate(
    family: Family, fused: bool, checkpoints: Checkpoints
) -> None:
    """Every step takes some of the sequences, in pieces of 1 to 7 tokens; now and then one is
    preempted."""
    folder = checkpoints(family)
    wanted = prompts_and_answers(family, folder)
    driver, random = Driver(Runner(runner_config(folder), fused)), Random(family)
    waiting = [(driver.start(prompt), answer) for prompt, answer in wanted]
    running: list[tuple[Running, list[int]]] = []
    preempted = mixed = 0
    while waiting or running:
        if waiting:
            running.append(waiting.pop(0))
        works = []
        for one, _ in running:
            left = len(one.tokens) - one.computed
            if random.random() < 0.9:
                works.append((one, min(left, random.randint(1, 7))))
        mixed += len({count == 1 and one.output != [] for one, count in works}) == 2
        result = driver.step(works)
        assert not result.faults
        for index, (one, answer) in list(enumerate(running)):
            if random.random() < 0.04:
                running[index] = (driver.preempt(one), answer)
                preempted += 1
        for one, answer in list(running):
            if len(one.output) >= len(answer):
                assert one.output[: len(answer)] == answer
                driver.drop(one)
                running.remove((one, answer))
    assert preempted
    assert mixed
    assert driver.split_spans
    assert driver.largest_batch >= 3


def test_a_shared_prefix_is_read_from_anothers_blocks(checkpoints: Checkpoints) -> None:
    folder = checkpoints("qwen_omni")
    prompt, answer = next((p, a) for p, a in prompts_and_answers("qwen_omni", folder) if p.embeds)
    driver = Driver(Runner(runner_config(folder)))
    first = driver.start(prompt)
    driver.step([(first, len(prompt.token_ids))])
    shared = (len(prompt.token_ids) - 1) // BLOCK
    second = driver.start(prompt, blocks=first.blocks[:shared], computed=shared * BLOCK)
    while len(second.output) < len(answer):
        driver.step([(first, 1), (second, len(second.tokens) - second.computed)])
    assert second.output == answer
    assert first.output[: len(answer)] == answer


def test_one_step_ahead_the_input_is_the_token_sampled_last(checkpoints: Checkpoints) -> None:
    """The driver never looks at what was sampled; the runner must."""
    folder = checkpoints("llava")
    reference: Reference = reference_for(folder)
    text = reference.prompt(ask("what is it?"))
    answer = reference.answer(text, NO_MEDIA, OUTPUT)
    driver = Driver(Runner(runner_config(folder)))
    one = driver.start(make_prompt(reference, encoder_for(folder), text))
    prompt = len(one.tokens)
    driver.step([(one, prompt)])
    sampled = [one.output[0]]
    for _ in range(len(answer.token_ids) - 1):
        one.tokens[-1] = -1
        result = driver.step([(one, 1)])
        sampled.append(result.sampled[0].token_id)
    assert sampled == answer.token_ids
