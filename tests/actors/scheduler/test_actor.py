"""The scheduler's process on real sockets, with a fake runner."""

from pathlib import Path

import pytest

from thespis.protocol.config.roles import RunnerConfig, Threads
from thespis.protocol.edges.encoder_cache_to_scheduler import EmbeddingReady
from thespis.protocol.edges.preprocessor_to_scheduler import Submit
from thespis.protocol.edges.scheduler_to_detokenizer import Close, Open, Outputs
from thespis.protocol.edges.scheduler_to_encoder_cache import Need, Release
from thespis.protocol.edges.shared import RequestFailed
from thespis.protocol.facts import KvGroup, ModelFacts
from thespis.protocol.memory.blobs import BlobRef

from ...fakes import fake_runner
from .bench import config, item, prepared
from .stage import Stage

MODEL = ModelFacts(
    path="", model_type="", layers=1, hidden=1, vocab=512, context=512, eos_token_ids=(),
    kv_groups=(KvGroup(layers=(0,), kv_heads=1, key_dim=1, value_dim=1),),
    dtype="float32", fingerprint="",
)  # fmt: skip
RUNNER = RunnerConfig(
    model=MODEL, dtype="float32", device="cpu", threads=Threads(1, 1, 1), native_kernels=True,
    block_size=4, room=None,
    max_num_seqs=8, max_batched_tokens=16, max_model_len=64, gpu_memory_utilization=0.9,
)  # fmt: skip
PLAYED = ("detokenizer", "encoder-cache", "client-a")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, {"scheduler": config(room=None), "gpu-runner": RUNNER}, PLAYED)


def tokens_heard(stage: Stage, id: str) -> list[int]:
    batches = [message for message in stage.heard["detokenizer"] if isinstance(message, Outputs)]
    return [
        token
        for batch in batches
        for output in batch.outputs
        if output.id == id
        for token in output.token_ids
    ]


def closed(stage: Stage, id: str) -> bool:
    return any(
        isinstance(message, Close) and message.id == id for message in stage.heard["detokenizer"]
    )


def test_a_request_goes_through_with_the_blocks_that_the_runner_reports(stage: Stage) -> None:
    with stage:
        stage.start("gpu-runner", fake_runner.main)
        request = prepared("r", [70, 71, 72], max_tokens=20)
        stage.send("preprocessor", Submit(request))
        stage.until(lambda: closed(stage, "r"))
        assert isinstance(stage.heard["detokenizer"][0], Open)
        assert tokens_heard(stage, "r") == fake_runner.expected(
            request.token_ids, request.sampling, request.eos_token_ids
        )
        assert stage.counters("scheduler")["kv_blocks"] == fake_runner.NUM_BLOCKS - 1
        assert stage.counters("gpu-runner")["steps"] > 0


def test_a_request_that_waits_for_company_is_computed_without_any(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else happens that would have the scheduler look again."""
    monkeypatch.setattr(fake_runner, "STEP_SECONDS", 0.2)
    with stage:
        stage.start("gpu-runner", fake_runner.main)
        stage.send(
            "preprocessor", Submit(prepared("a", [70, 71, 72], max_tokens=1))
        )  # tells what a prompt takes
        stage.until(
            lambda: closed(stage, "a") and stage.counters("gpu-runner")["steps"] == 2
        )  # and has been forgotten
        stage.send("preprocessor", Submit(prepared("b", [70, 71, 72], max_tokens=1)))
        stage.until(lambda: closed(stage, "b"))


def test_an_item_is_asked_for_and_given_back(stage: Stage) -> None:
    with stage:
        stage.start("gpu-runner", fake_runner.main)
        stage.send("preprocessor", Submit(prepared("r", [0, 0, 5], (item("cat", 0, 2),))))
        stage.until(lambda: bool(stage.heard["encoder-cache"]))
        need = stage.heard["encoder-cache"][0]
        assert isinstance(need, Need)
        stage.send(
            "encoder-cache",
            EmbeddingReady("cat", (need.holder,), BlobRef("cat", 0, "float32", (2, 1))),
        )
        stage.until(lambda: closed(stage, "r") and len(stage.heard["encoder-cache"]) == 2)
        assert stage.heard["encoder-cache"][1] == Release(need.holder)


def test_a_runners_death_costs_no_token(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_runner, "STEP_SECONDS", 0.003)
    with stage:
        stage.start("gpu-runner", fake_runner.main)
        requests = [prepared(f"r{i}", [70 + i], max_tokens=60, ignore_eos=True) for i in range(4)]
        for request in requests:
            stage.send("preprocessor", Submit(request))
        stage.until(lambda: len(tokens_heard(stage, "r0")) >= 2)
        stage.stop("gpu-runner")
        stage.gone("gpu-runner")
        stage.start("gpu-runner", fake_runner.main, epoch=2)
        stage.until(lambda: all(closed(stage, request.id) for request in requests))
        for request in requests:
            assert tokens_heard(stage, request.id) == fake_runner.expected(
                request.token_ids, request.sampling, ()
            )
        assert stage.counters("scheduler")["preemptions"] == len(requests)


def test_a_new_detokenizer_hears_everything_again(stage: Stage) -> None:
    with stage:
        stage.start("gpu-runner", fake_runner.main)
        request = prepared("r", [70, 71], max_tokens=20, ignore_eos=True)
        stage.send("preprocessor", Submit(request))
        stage.until(lambda: closed(stage, "r"))
        stage.gone("detokenizer")
        stage.bind("detokenizer", 2)
        stage.tell_peers()
        stage.until(lambda: closed(stage, "r"))
        assert isinstance(stage.heard["detokenizer"][0], Open)
        assert tokens_heard(stage, "r") == fake_runner.expected(
            request.token_ids, request.sampling, ()
        )


def test_refusals_go_to_the_client_and_ends_leave_nothing(stage: Stage) -> None:
    with stage:
        stage.send("preprocessor", Submit(prepared("long", [5] * 100)))
        stage.until(lambda: bool(stage.heard["client-a"]))
        assert isinstance(stage.heard["client-a"][0], RequestFailed)
        stage.send("preprocessor", Submit(prepared("r", [5])))
        stage.until(lambda: bool(stage.heard["detokenizer"]))
        assert stage.counters("scheduler")["waiting"] == 1
        stage.end("scheduler", "r")
        stage.until(lambda: stage.counters("scheduler")["waiting"] == 0)
        stage.send("preprocessor", Submit(prepared("s", [5])))
        stage.until(lambda: len(stage.heard["detokenizer"]) == 2)
        stage.gone("client-a")
        assert stage.counters("scheduler")["waiting"] == 0
        for late in (
            prepared("t", [5]),
            prepared("long too", [5] * 100),
        ):  # the preprocessor heard of it later
            stage.send("preprocessor", Submit(late))
        stage.send("preprocessor", Submit(prepared("u", [5], client="client-b.1")))
        stage.until(lambda: len(stage.heard["detokenizer"]) == 3)
        assert stage.heard["detokenizer"][2].id == "u"
        assert stage.counters("scheduler")["waiting"] == 1
