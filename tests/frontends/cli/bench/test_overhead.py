"""`bench overhead`: a round against the app with a fake client, and its arithmetic."""

import argparse
import asyncio
import json
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from thespis.frontends.cli.bench import apart, overhead
from thespis.frontends.cli.bench.bare import BareRunner
from thespis.frontends.cli.main import build_parser
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.errors import EngineError

from ....helpers.checkpoints import Checkpoints
from ...openai.fake import FakeClient, served

pytestmark = pytest.mark.timeout(60)  # a client is started for each load, with its imports


class Counted:
    """In a runner's place."""

    asked: tuple[int, ...] = ()

    def decode_steps(
        self, sequences: int, prompt: int, steps: int, longest: int
    ) -> Iterator[float]:
        self.asked = (sequences, prompt, steps, longest)
        yield from [0.001] * (steps - 1) + [0.004]


def given(*words: str) -> argparse.Namespace:
    return build_parser("bench").parse_args(["bench", "overhead", *words])


async def test_a_round_is_the_bare_loop_one_stream_and_many(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client, bare = FakeClient(), Counted()
    client.words, client.pace = ["x "] * 4, 0.002
    words = ("--rounds=1", "--streams=3", "--prompt-tokens=5", "--max-tokens=4", "--json")
    async with served(client) as url:
        server = nullcontext(SimpleNamespace(url=url))
        monkeypatch.setattr(overhead, "serving", lambda *_: server)
        monkeypatch.setattr("thespis.frontends.cli.bench.bare.BareRunner", lambda _: bare)
        assert await asyncio.to_thread(overhead.run, given(*words)) == 0
    assert bare.asked == (1, 5, 3, 9)
    (row,) = json.loads(capsys.readouterr().out)["rounds"]
    assert (row["bare_itl_ms"], row["bare_itl_mean_ms"]) == (1.0, pytest.approx(2.0))
    assert row["http_over_bare"] == pytest.approx(row["http_itl_ms"], abs=0.01)
    assert row["speedup"] == pytest.approx(
        row["tokens_per_second_many"] / row["tokens_per_second_1"], abs=0.01
    )
    assert {*overhead.LABELS} <= {*row}


def test_ratios_are_medians_of_ratios() -> None:
    rounds = [{"a": 1.0, "of": 9.0}, {"a": 2.0, "of": 1.0}, {"a": 30.0, "of": 2.0}]
    assert overhead.medians(rounds) == {"a": 2.0, "of": 2.0}


def test_what_the_client_says_is_the_error() -> None:
    with pytest.raises(
        EngineError, match=r"^thespis bench: No server answers at http://127.0.0.1:9"
    ):
        apart.ask("http://127.0.0.1:9", 1, 2, 2)


def test_a_bare_runner_decodes_what_an_engine_would(checkpoints: Checkpoints) -> None:
    engine = EngineConfig(model=str(checkpoints("qwen_omni")), device="cpu", max_model_len=128)
    bare = BareRunner(engine)
    for _ in range(2):  # each begins anew
        assert len(list(bare.decode_steps(2, 70, 5, 80))) == 5
    assert bare.prompt_seconds(100) > 0
