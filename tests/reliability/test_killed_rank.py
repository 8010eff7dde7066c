"""A model that two processes compute together: the death of one costs a resume, and the answers are
those of transformers."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from thespis import LLM, SamplingParams
from thespis.protocol.topology import GPU_RUNNER

from ..helpers.checkpoints import Checkpoints
from ..helpers.media import picture
from ..helpers.reference import Media, reference_for

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

RANKS = (GPU_RUNNER, f"{GPU_RUNNER}-1")
LISTENING = "0A"
"""As /proc has it."""
LOOPBACK = "0100007F"
PROMPT = "Tell me what it is, at length."
LONG = SamplingParams(temperature=0.0, max_tokens=150, ignore_eos=True)


@pytest.fixture(scope="module")
def engine(checkpoints: Checkpoints) -> Iterator[LLM]:
    with LLM(
        model=checkpoints("qwen_vl"), dtype="float32", device="cpu", tensor_parallel_size=2,
        max_model_len=512, runner_threads=1, encoder_threads=1, lease_seconds=20.0,
    ) as llm:  # fmt: skip
        yield llm


def say(llm: LLM, params: SamplingParams = LONG) -> list[int]:
    (answer,) = llm.generate([PROMPT], params, use_tqdm=False)
    return list(answer.outputs[0].token_ids)


def test_a_picture_is_answered_as_by_transformers(engine: LLM, checkpoints: Checkpoints) -> None:
    reference = reference_for(checkpoints("qwen_vl"))
    shown: Any = {"type": "image_pil", "image_pil": picture(4)}
    asked: Any = [{"role": "user", "content": [shown, {"type": "text", "text": "What is it?"}]}]
    template: Any = [{"role": "user", "content": [{"type": "image"}, asked[0]["content"][1]]}]
    expected = reference.answer(
        reference.prompt(template), Media(images=(picture(4),)), 12, ignore_eos=True
    )
    params = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True)
    (answer,) = engine.chat(asked, params, use_tqdm=False)
    assert expected.safe, "draw another"
    assert list(answer.outputs[0].token_ids) == expected.token_ids


def test_S81_a_killed_rank_costs_a_resume(engine: LLM) -> None:
    began = time.monotonic()
    expected = say(engine)
    took = time.monotonic() - began
    before = engine.status()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(say, engine)
        time.sleep(took / 3)
        os.kill(before.pids[RANKS[1]], signal.SIGKILL)
        assert answer.result(60) == expected
    wait_for(lambda: engine.status().restarts[RANKS[1]] > before.restarts[RANKS[1]])
    wait_for(lambda: engine.status().ready)
    after = engine.status()
    assert {role for role, pid in after.pids.items() if before.pids[role] != pid} == {*RANKS}
    assert [after.restarts[role] - before.restarts[role] for role in RANKS] == [1, 1]


def test_ranks_listen_on_loopback_alone(engine: LLM) -> None:
    for pid in (engine.status().pids[role] for role in RANKS):
        own = set[str]()
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                own.add(os.readlink(link))
        for table in ("tcp", "tcp6"):
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
            for fields in (line.split() for line in lines):
                if fields[3] == LISTENING and f"socket:[{fields[9]}]" in own:
                    assert fields[1].startswith(LOOPBACK), fields[1]


def wait_for(true: Any) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
