"""`bench offline` on the bundled model."""

import json

import pytest

from thespis.frontends.cli.bench import offline
from thespis.frontends.cli.main import build_parser

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]


def test_texts_and_pictures_are_answered_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
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
        "--json",
    ]
    assert offline.run(build_parser("bench").parse_args(words)) == 0
    batches = json.loads(capsys.readouterr().out)["batches"]
    assert [(batch["what"], batch["prompts"], batch["tokens"]) for batch in batches] == [
        ("texts", 2, 6),
        ("pictures", 2, 6),
    ]
    assert all(batch["seconds"] > 0 for batch in batches)
