"""`bench preprocess` on the bundled model's own processor."""

import json
from typing import cast

import pytest

from thespis.frontends.cli.bench import preprocess
from thespis.frontends.cli.bench.preparing import _one
from thespis.frontends.cli.main import build_parser
from thespis.frontends.client.client import Client
from thespis.protocol.errors import EngineError

from ...openai.fake import FakeClient

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]


def test_pictures_are_decoded_and_made_into_features(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "preprocess", "--workers", "1", "--pictures", "3", "--size", "336", "--json"]
    assert preprocess.run(build_parser("bench").parse_args(words)) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["workers"] == 1
    assert min(row["pictures_per_second"], row["decode_ms_p50"], row["features_ms_p50"]) > 0
    assert row["engine_features"] == 3  # none was refused for its size
    assert min(row["engine_pictures_per_second"], row["answers"], row["answer_ms_p99_9"]) > 0


async def test_a_model_of_texts_is_refused_in_words() -> None:
    with pytest.raises(EngineError, match="'fake-model' takes no pictures"):
        await _one(cast(Client, FakeClient()), "file:///picture.png")


def test_workers_must_be_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser("bench").parse_args(["bench", "preprocess", "--workers", "1,0"])
    assert "argument --workers: expected a number from 1" in capsys.readouterr().err
