"""Two encoders: their answers are those of transformers, and one that is killed with pictures in
hand costs nobody an answer."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from thespis import LLM, SamplingParams
from thespis.frontends.openai.engine_metrics import EngineCollector
from thespis.protocol.edges.control import Status
from thespis.protocol.topology import ENCODER_CACHE, PREPROCESSOR

from ..helpers.checkpoints import Checkpoints
from ..helpers.media import picture
from ..helpers.reference import Media, reference_for

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

WORKER = "encode-worker-1"
SEEDS = range(20, 26)
TOKENS = 8
GREEDY = SamplingParams(temperature=0.0, max_tokens=TOKENS, ignore_eos=True)
WORDS = {"type": "text", "text": "What is it?"}


@pytest.fixture(scope="module")
def engine(checkpoints: Checkpoints) -> Iterator[LLM]:
    with LLM(
        model=checkpoints("qwen_vl"), dtype="float32", device="cpu", encoders=2,
        max_model_len=512, runner_threads=1, encoder_threads=1, lease_seconds=20.0,
    ) as llm:  # fmt: skip
        yield llm


@pytest.fixture(scope="module")
def expected(checkpoints: Checkpoints) -> list[list[int]]:
    """By transformers."""
    reference = reference_for(checkpoints("qwen_vl"))
    template: Any = [{"role": "user", "content": [{"type": "image"}, WORDS]}]
    found = [
        reference.answer(
            reference.prompt(template), Media(images=(picture(seed),)), TOKENS, ignore_eos=True
        )
        for seed in SEEDS
    ]
    assert all(one.safe for one in found), "draw others"
    return [one.token_ids for one in found]


def answers(llm: LLM) -> list[list[int]]:
    asked: list[Any] = [
        [{"role": "user", "content": [{"type": "image_pil", "image_pil": picture(seed)}, WORDS]}]
        for seed in SEEDS
    ]
    outputs = llm.chat(asked, GREEDY, use_tqdm=False)
    return [list(output.outputs[0].token_ids) for output in outputs]


def series(status: Status) -> str:
    """As `/metrics` has them."""
    registry = CollectorRegistry()
    registry.register(EngineCollector(status, "m"))
    return generate_latest(registry).decode()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def meanwhile(
    llm: LLM, do: Callable[[dict[str, int]], None] = lambda pids: None
) -> list[list[int]]:
    """The answers where all pictures wait for the encoder-cache at once; `do` this then, with the
    pids of all."""
    llm.reset_mm_cache()
    llm.reset_prefix_cache()
    before = llm.status()
    done = before.stats[PREPROCESSOR]["prepared"]
    with ThreadPoolExecutor(1) as pool:
        os.kill(before.pids[ENCODER_CACHE], signal.SIGSTOP)
        try:
            answer = pool.submit(answers, llm)
            wait_until(lambda: llm.status().stats[PREPROCESSOR]["prepared"] >= done + len(SEEDS))
        finally:
            os.kill(before.pids[ENCODER_CACHE], signal.SIGCONT)
        do(before.pids)
        return answer.result(60)


def test_S82_two_encoders_answer_as_transformers_does(
    engine: LLM, expected: list[list[int]]
) -> None:
    assert meanwhile(engine) == expected
    status = engine.status()
    stats, shown = status.stats, series(status)
    assert f'thespis_actor_encoded_items_total{{model_name="m",role="{WORKER}"}}' in shown
    assert f'thespis_process_pid{{model_name="m",role="{WORKER}"}}' in shown
    assert 0 < stats[WORKER]["encoded_items"] < stats[ENCODER_CACHE]["encoded_items"]
    assert stats[WORKER]["arena_bytes_used"] == 0


def test_S82_a_killed_encode_worker_costs_nobody_an_answer(
    engine: LLM, expected: list[list[int]]
) -> None:
    before = engine.status()

    def kill(pids: dict[str, int]) -> None:
        wait_until(lambda: engine.status().stats[ENCODER_CACHE]["encode_workers_busy"] == 1)
        os.kill(pids[WORKER], signal.SIGKILL)

    os.kill(before.pids[WORKER], signal.SIGSTOP)
    assert meanwhile(engine, kill) == expected
    wait_until(lambda: engine.status().ready)
    after = engine.status()
    assert {role for role, pid in after.pids.items() if before.pids[role] != pid} == {WORKER}
    cache = after.stats[ENCODER_CACHE]
    assert (cache["lost"], cache["encode_workers"], cache["encode_workers_busy"]) == (0, 1, 0)
    assert meanwhile(engine) == expected
    assert engine.status().stats[WORKER]["encoded_items"] > 0, "its successor has its part"
