"""`bench offline` on the bundled model."""

import json
from typing import Any

import pytest

from thespis import LLM
from thespis.frontends.cli.bench import offline
from thespis.frontends.cli.main import build_parser
from thespis.frontends.python import llm
from thespis.protocol.checkpoint.folder import demo_model
from thespis.protocol.config.engine import EngineConfig

from ....helpers.serving import Server

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]


def test_texts_and_pictures_are_answered_and_counted(
    demo: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By an engine that runs already."""
    given: list[EngineConfig] = []

    def joined(**options: Any) -> LLM:
        given.append(EngineConfig(**options))
        return LLM(run_dir=demo.run_dir)

    monkeypatch.setattr(llm, "LLM", joined)
    words = [
        "bench",
        "offline",
        "--texts",
        "2",
        "--pictures",
        "2",
        "--size",
        "56",
        "--max-tokens",
        "3",
        "--max-num-seqs",
        "4",
        "--json",
    ]
    assert offline.run(build_parser("bench").parse_args(words)) == 0
    assert [(one.model, one.max_num_seqs) for one in given] == [(str(demo_model()), 4)]
    batches = json.loads(capsys.readouterr().out)["batches"]
    assert [(batch["what"], batch["prompts"], batch["tokens"]) for batch in batches] == [
        ("texts", 2, 6),
        ("pictures", 2, 6),
    ]
    assert all(batch["seconds"] > 0 for batch in batches)
