"""The faces give, under pressure, token for token what transformers gives to each request alone,
in float32."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from thespis import LLM, AsyncLLM, SamplingParams

from ..helpers.cases import Solved, solve_all
from ..helpers.checkpoints import Family
from ..helpers.reference import Media, Reference
from .troupe import Troupe

pytestmark = pytest.mark.process

STAGGER = 0.004
"""Seconds between arrivals."""
ROUNDS = 3
"""On a busy machine the media of so many requests come one after the other, and few requests meet;
then all are asked again."""


class Exam(NamedTuple):
    family: Family
    reference: Reference
    run_dir: Path
    url: str
    """Of the server."""
    solved: list[Solved]


@pytest.fixture(scope="module")
def exam(troupe: Troupe) -> Exam:
    solved = solve_all(troupe.family, troupe.reference)
    return Exam(troupe.family, troupe.reference, troupe.server.run_dir, troupe.server.url, solved)


def test_the_faces_equal_transformers(exam: Exam) -> None:
    """The family that takes every kind of media through each of them, the others through one."""
    if exam.family != "qwen_vl":
        through_llm(exam)
    if exam.family != "llava":
        asyncio.run(through_async_llm(exam))
    if exam.family == "qwen_omni":
        asyncio.run(through_http(exam))


def through_llm(exam: Exam) -> None:
    with LLM(run_dir=exam.run_dir) as llm:
        llm.reset_mm_cache()
        assert llm.reset_prefix_cache()
        before = llm.status().stats

        def ask(place: int) -> list[int]:
            # A face is called from many threads at once: each request arrives on its own.
            (output,) = llm.generate(
                exam.solved[place].offline, greedy(exam.solved[place]), use_tqdm=False
            )
            assert output.prompt_token_ids == exam.solved[place].answer.prompt_token_ids
            return output.outputs[0].token_ids

        for _ in range(ROUNDS):
            with ThreadPoolExecutor(len(exam.solved)) as threads:
                answers = list(threads.map(ask, range(len(exam.solved))))
            assert_equal(answers, exam.solved)
            if not (missed := unmet(before, llm.status().stats)):
                break
        assert not missed


async def through_async_llm(exam: Exam) -> None:
    async with AsyncLLM(run_dir=exam.run_dir) as llm:
        before = await forgetful(llm)

        async def ask(place: int) -> list[int]:
            await asyncio.sleep(place * STAGGER)
            tokens: list[int] = []
            async for delta in llm.stream(
                exam.solved[place].case.messages(encoded=True), greedy(exam.solved[place])
            ):
                tokens.extend(delta.token_ids)
            return tokens

        for _ in range(ROUNDS):
            answers = await asyncio.gather(*(ask(place) for place in range(len(exam.solved))))
            assert_equal(answers, exam.solved)
            if not (missed := unmet(before, (await llm.status()).stats)):
                break
        assert not missed


async def through_http(exam: Exam) -> None:
    """Every second request is streamed."""
    async with AsyncLLM(run_dir=exam.run_dir) as llm, aiohttp.ClientSession(exam.url) as http:
        before = await forgetful(llm)

        async def ask(place: int) -> list[int]:
            await asyncio.sleep(place * STAGGER)
            body = {
                "model": "tiny",
                "messages": exam.solved[place].case.messages(encoded=True),
                "max_tokens": exam.solved[place].case.max_tokens,
                "ignore_eos": exam.solved[place].case.ignore_eos,
                "temperature": 0,
                "return_token_ids": True,
                "stream": place % 2 == 1,
            }
            async with http.post("/v1/chat/completions", json=body) as response:
                assert response.status == 200, await response.text()
                said, prompt = (
                    streamed(await response.text())
                    if body["stream"]
                    else whole(await response.json())
                )
            assert prompt == exam.solved[place].answer.prompt_token_ids
            return said

        for _ in range(ROUNDS):
            answers = await asyncio.gather(*(ask(place) for place in range(len(exam.solved))))
            assert_equal(answers, exam.solved)
            if not (missed := unmet(before, (await llm.status()).stats)):
                break
        assert not missed


def test_the_pictures_matter(exam: Exam) -> None:
    """Else the equality above would hold for an engine that never looks."""
    asked = [solved for solved in exam.solved if solved.case.media.images]
    assert asked
    for solved in asked:
        media = solved.case.media
        others = tuple(image.rotate(180) for image in media.images)
        swapped = exam.reference.answer(solved.prompt, Media(others, media.videos, media.audio), 12)
        assert swapped.prompt_token_ids == solved.answer.prompt_token_ids
        assert swapped.token_ids != solved.answer.token_ids[:12]


async def forgetful(llm: AsyncLLM) -> dict[str, dict[str, float]]:
    """The counters of an engine that knows nothing any more of what the face before has asked."""
    await llm.reset_mm_cache()
    assert await llm.reset_prefix_cache()
    return (await llm.status()).stats


def greedy(solved: Solved) -> SamplingParams:
    return SamplingParams(
        temperature=0.0, max_tokens=solved.case.max_tokens, ignore_eos=solved.case.ignore_eos
    )


def assert_equal(answers: list[list[int]], solved: list[Solved]) -> None:
    wrong = {
        place: (solved[place].case, tokens, solved[place].answer.token_ids)
        for place, tokens in enumerate(answers)
        if tokens != solved[place].answer.token_ids
    }
    assert not wrong, f"{len(wrong)} of {len(answers)} differ: {wrong}"


def unmet(before: dict[str, dict[str, float]], after: dict[str, dict[str, float]]) -> list[str]:
    """What could have changed their tokens, and has not come to pass."""
    names = ("split_spans", "preemptions", "prefix_hit_tokens", "steps_with_8_or_more")
    return [name for name in names if after["scheduler"][name] <= before["scheduler"].get(name, 0)]


def whole(body: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Output and prompt ids of an answer in one piece."""
    return body["choices"][0]["token_ids"], body["prompt_token_ids"]


def streamed(text: str) -> tuple[list[int], list[int]]:
    """Output and prompt ids of a stream of events."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    events = [json.loads(line) for line in lines[:-1]]
    said = [
        token
        for event in events
        for choice in event["choices"]
        for token in choice.get("token_ids") or ()
    ]
    return said, next(event["prompt_token_ids"] for event in events if "prompt_token_ids" in event)
