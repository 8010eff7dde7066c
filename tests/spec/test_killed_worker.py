"""In a whole engine: the death of a decode worker in the middle of an item costs a retry and
nothing else."""

import os
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from thespis import LLM, SamplingParams

from ..helpers.media import data_url, picture, png

pytestmark = pytest.mark.process

WORKER = "decode-worker-0"


def ask(llm: LLM, seed: int) -> Any:
    shown = {"type": "image_url", "image_url": {"url": data_url("image/png", png(picture(seed)))}}
    messages: Any = [{"role": "user", "content": [shown, {"type": "text", "text": "What is it?"}]}]
    return llm.chat(messages, SamplingParams(temperature=0.0, max_tokens=2), use_tqdm=False)[0]


def worker(llm: LLM, other_than: int = 0) -> int:
    """The worker's pid, once it is ready."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status = llm.status()
        pid = status.pids.get(WORKER, 0)
        if pid not in (0, other_than) and status.roles.get(WORKER) == "ready":
            return pid
        time.sleep(0.05)
    raise TimeoutError("no worker")


def killed_at_it(llm: LLM, pool: ThreadPoolExecutor, seed: int) -> Future[Any]:
    """Ask about a picture, and kill the worker that has it: it is stopped first, so that it cannot
    have finished."""
    pid = worker(llm)
    os.kill(pid, signal.SIGSTOP)
    answer = pool.submit(ask, llm, seed)
    time.sleep(0.5)
    os.kill(pid, signal.SIGKILL)
    return answer


def test_a_workers_death_costs_a_retry(llm: LLM) -> None:
    expected = ask(llm, 1).outputs[0].token_ids
    before = llm.status()
    with ThreadPoolExecutor(1) as pool:
        answer = killed_at_it(llm, pool, 1001)
        assert len(answer.result(30).outputs[0].token_ids) == 2
    worker(llm, other_than=before.pids[WORKER])
    after = llm.status()
    deaths = [status.stats["preprocessor"]["worker_deaths"] for status in (before, after)]
    assert deaths[1] - deaths[0] == 1
    assert {role for role, pid in after.pids.items() if before.pids[role] != pid} == {WORKER}
    assert ask(llm, 1).outputs[0].token_ids == expected
