"""Whatever a process dies of each time is refused after proof; the neighbours get their answers,
kills refuse nobody."""

import asyncio
import os
import signal

import pytest
from PIL import Image

from thespis import AsyncLLM, SamplingParams
from thespis.frontends.engine import start_engine
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.errors import RequestError

from ..fakes.fake_runner import expected
from ..helpers.engines import cast_of
from ..helpers.torchless import TORCHLESS, played_by

pytestmark = pytest.mark.process
POISON = [88, 87, 88, 87, 90]
LONG = SamplingParams(max_tokens=200, temperature=0, ignore_eos=True)


async def test_a_request_that_ends_the_runner_each_time_is_refused_and_its_neighbours_go_on() -> (
    None
):
    modules = {**TORCHLESS, "gpu-runner": "poisoned_runner"}
    engine = await asyncio.to_thread(start_engine, EngineConfig(), **played_by(modules))
    with engine:
        async with AsyncLLM(run_dir=engine.run_dir) as llm:
            prompts = [[70 + n, 71, 72] for n in range(6)]
            neighbours = [
                asyncio.create_task(llm.generate({"prompt_token_ids": p}, LONG)) for p in prompts
            ]
            with pytest.raises(RequestError) as refused:
                await llm.generate({"prompt_token_ids": POISON}, LONG)
            assert (refused.value.failure.code, refused.value.status) == ("poison", 422)
            for prompt, output in zip(prompts, await asyncio.gather(*neighbours), strict=True):
                assert output.outputs[0].token_ids == expected(prompt, LONG, ())
            before = (await llm.status()).restarts["gpu-runner"]
            assert before <= 4
            with pytest.raises(RequestError, match="not tried again"):
                await llm.generate({"prompt_token_ids": POISON}, LONG)
            status = await llm.status()
            assert status.restarts["gpu-runner"] == before
            assert status.stats["scheduler"]["suspects"] == 0


async def test_several_poisons_at_once_do_not_use_up_the_restart_budget() -> None:
    """Each of the three costs two deaths of its own, which is one more than the budget."""
    modules = {**TORCHLESS, "gpu-runner": "poisoned_runner"}
    engine = await asyncio.to_thread(start_engine, EngineConfig(), **played_by(modules))
    with engine:
        async with AsyncLLM(run_dir=engine.run_dir) as llm:
            neighbour = asyncio.create_task(llm.generate({"prompt_token_ids": [70, 71]}, LONG))
            bad = [{"prompt_token_ids": [*POISON, n]} for n in range(3)]
            for answer in await asyncio.gather(
                *(llm.generate(one, LONG) for one in bad), return_exceptions=True
            ):
                assert isinstance(answer, RequestError)
                assert answer.failure.code == "poison"
            assert (await neighbour).outputs[0].token_ids == expected([70, 71], LONG, ())
            assert (await llm.status()).restarts["gpu-runner"] > 5


async def test_kills_from_outside_refuse_nobody() -> None:
    """Nobody else is there, and the same request is in hand at each of them."""
    engine = await asyncio.to_thread(start_engine, EngineConfig(), **played_by(TORCHLESS))
    with engine:
        async with AsyncLLM(run_dir=engine.run_dir) as llm:
            params = LONG.replace(max_tokens=400)
            prompts = [[70 + n, 71, 72] for n in range(3)]
            running = [
                asyncio.create_task(llm.generate({"prompt_token_ids": p}, params)) for p in prompts
            ]
            for role in ("gpu-runner", "scheduler", "detokenizer") * 4:
                await asyncio.sleep(0.05)
                status = await llm.status()
                os.kill(status.pids[role], signal.SIGKILL)
                while (await llm.status()).restarts[role] == status.restarts[
                    role
                ] or not llm._running().ready:
                    await asyncio.sleep(0.02)
            for prompt, output in zip(prompts, await asyncio.gather(*running), strict=True):
                assert output.outputs[0].token_ids == expected(prompt, params, ())
            status = await llm.status()
            assert status.stats["scheduler"]["poison"] == status.stats["scheduler"]["suspects"] == 0
            assert (llm._running()._suspects.refused, llm._running()._suspects.quiet) == (0, True)


@pytest.mark.parametrize("encoders", [1, 2])
async def test_a_picture_that_ends_the_encoder_each_time_is_refused_and_others_are_not(
    encoders: int,
) -> None:
    poisoned = ("encoder-cache", "encode-worker")
    engine = await asyncio.to_thread(
        start_engine,
        EngineConfig(encoders=encoders),
        cast=cast_of(
            dict.fromkeys(poisoned, "poisoned_encoder") | {"gpu-runner": "fake_runner"},
            forked=("decode-worker", *poisoned),
        ),
    )
    short = SamplingParams(max_tokens=4, temperature=0)

    def ask(colour: str, words: str) -> list[dict[str, object]]:
        picture = {"type": "image_pil", "image_pil": Image.new("RGB", (56, 56), colour)}
        return [{"role": "user", "content": [picture, {"type": "text", "text": words}]}]

    with engine:
        async with AsyncLLM(run_dir=engine.run_dir) as llm:
            asked = [
                ("red", "what?"),
                ("white", "what?"),
                ("blue", "what?"),
                ("white", "and this?"),
            ]
            answers = await asyncio.gather(
                *(llm.generate(ask(*one), short) for one in asked), return_exceptions=True
            )
            for (colour, _), answer in zip(asked, answers, strict=True):
                if colour == "white":
                    assert isinstance(answer, RequestError)
                    assert answer.failure.code == "poison"
                else:
                    assert not isinstance(answer, BaseException)
                    assert answer.outputs[0].token_ids
            before = (await llm.status()).restarts["encoder-cache"]
            assert before <= 4
            with pytest.raises(RequestError):
                await llm.generate(ask("white", "once more?"), short)
            assert (await llm.status()).restarts["encoder-cache"] == before


async def test_many_bad_pictures_in_a_row_do_not_end_the_engine() -> None:
    """Each costs two workers; more than the restart budget of a role allows without an
    explanation."""
    modules = {**TORCHLESS, "decode-worker": "poisoned_worker"}
    engine = await asyncio.to_thread(
        start_engine, EngineConfig(decode_workers=1), **played_by(modules)
    )
    async with AsyncLLM(run_dir=engine.run_dir) as llm:
        for brightness in range(5):
            shown = {"type": "image_pil", "image_pil": Image.new("L", (56, 56), brightness)}
            with pytest.raises(RequestError) as refused:
                await llm.generate(
                    [{"role": "user", "content": [shown, {"type": "text", "text": "what?"}]}], LONG
                )
            assert (refused.value.failure.code, refused.value.status) == ("poison", 422)
        assert (await llm.generate({"prompt_token_ids": [70]}, LONG)).outputs[
            0
        ].token_ids == expected([70], LONG, ())
        assert (await llm.status()).restarts["decode-worker-0"] >= 9
    engine.terminate()
