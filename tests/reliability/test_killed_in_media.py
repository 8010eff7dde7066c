"""Processes die while a request's media are on their way to the encoder: the request goes on, and
its answer is the same, also where the media's cache has been reset before or in between."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from thespis import LLM, SamplingParams
from thespis.protocol.topology import (
    DECODE_WORKER,
    ENCODER_CACHE,
    FETCHER,
    PREPROCESSOR,
    kind_of,
)

from ..helpers import pdfs
from ..helpers.checkpoints import Checkpoints
from ..helpers.media import picture
from ..spec.web import Site

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

WORDS = {"type": "text", "text": "What is that?"}
GREEDY = SamplingParams(temperature=0.0, max_tokens=4, ignore_eos=True)
PAGES = 12
Part = Callable[[int], dict[str, Any]]
"""Of a seed."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def engine(checkpoints: Checkpoints, folder: Path) -> Iterator[LLM]:
    """What it has encoded is kept on disk."""
    model, kept = checkpoints("qwen_omni"), folder / "kept"
    with LLM(
        model=model, dtype="float32", max_model_len=1024, limit_mm_per_prompt={"image": PAGES},
        encoder_cache_dir=kept, allowed_local_media_path=folder, allow_private_media=True,
        lease_seconds=20.0,
    ) as llm:  # fmt: skip
        yield llm


def document(seed: int) -> dict[str, Any]:
    pages = [picture(seed + at) for at in range(PAGES)]
    return {"type": "document", "document": pdfs.of_pictures(pages)}


def shown(seed: int) -> dict[str, Any]:
    return {"type": "image_pil", "image_pil": picture(seed)}


def ask(llm: LLM, part: dict[str, Any]) -> list[int]:
    (answer,) = llm.chat([{"role": "user", "content": [part, WORDS]}], GREEDY, use_tqdm=False)
    return list(answer.outputs[0].token_ids)


def forget(llm: LLM) -> None:
    llm.reset_mm_cache()
    llm.reset_prefix_cache()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def killed(
    llm: LLM, role: str, part: dict[str, Any], then: Callable[[], None] = lambda: None
) -> list[int]:
    """The answer of one whose prompt is at the scheduler, when `role` dies before an embedding is
    there: the encoder-cache stands still meanwhile."""
    before = llm.status()
    encoder, victim = before.pids[ENCODER_CACHE], before.pids[role]
    done = before.stats[PREPROCESSOR]["prepared"]
    with ThreadPoolExecutor(1) as pool:
        os.kill(encoder, signal.SIGSTOP)
        try:
            answer = pool.submit(ask, llm, part)
            wait_until(lambda: llm.status().stats[PREPROCESSOR]["prepared"] > done)
            os.kill(victim, signal.SIGKILL)
        finally:
            os.kill(encoder, signal.SIGCONT)
        then()
        tokens = answer.result(60)
    wait_until(lambda: llm.status().ready)
    after = llm.status().pids
    assert (after[role] != victim, after[ENCODER_CACHE] == encoder) == (True, True)
    return tokens


@pytest.mark.parametrize("part", [document, shown])
def test_the_preprocessor_after_a_reset(engine: LLM, part: Part) -> None:
    expected = ask(engine, part(100))
    forget(engine)
    assert killed(engine, PREPROCESSOR, part(100)) == expected


def test_the_fetcher_that_brought_a_document(engine: LLM, folder: Path) -> None:
    file = folder / "some.pdf"
    file.write_bytes(document(300)["document"])
    part = {"type": "document_url", "document_url": file.as_uri()}
    expected = ask(engine, part)
    forget(engine)
    assert killed(engine, FETCHER, part) == expected


def test_the_fetcher_amid_a_document_it_fetches(engine: LLM) -> None:
    with Site() as site:
        address = site.url("/late/1.0/document-310.pdf", "127.0.0.1")
        expected = ask(engine, {"type": "document_url", "document_url": address})
        forget(engine)
        asked = len(site.requests)
        part = {"type": "document_url", "document_url": f"{address}?again"}
        victim = engine.status().pids[FETCHER]
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ask, engine, part)
            wait_until(lambda: len(site.requests) > asked)
            os.kill(victim, signal.SIGKILL)
            assert answer.result(60) == expected
        assert len(site.requests) == asked + 2
    wait_until(lambda: engine.status().ready)


def test_the_fetcher_while_its_document_is_read(engine: LLM, folder: Path) -> None:
    """Workers stand still, with the question of what is in it."""
    file = folder / "other.pdf"
    file.write_bytes(document(330)["document"])
    part = {"type": "document_url", "document_url": file.as_uri(), "pages": "2-11"}
    expected = ask(engine, part)
    forget(engine)
    part["pages"] = "3-12"  # what is known of some pages says nothing of others
    before = engine.status()
    workers = [pid for role, pid in before.pids.items() if kind_of(role) == DECODE_WORKER]
    with ThreadPoolExecutor(1) as pool:
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            answer = pool.submit(ask, engine, part)
            wait_until(lambda: engine.status().stats[PREPROCESSOR]["decodes_running"] > 0)
            os.kill(before.pids[FETCHER], signal.SIGKILL)
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
        tokens = answer.result(60)
    wait_until(lambda: engine.status().ready)
    assert tokens == ask(engine, part) != expected
