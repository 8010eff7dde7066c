"""`chat` and `bench serve` with media on the bundled model, in an engine that runs already."""

import json
import subprocess
import sys

import pytest

from thespis.frontends.cli.bench import serve
from thespis.frontends.cli.main import build_parser
from thespis.protocol.checkpoint.folder import demo_model

from ....helpers.serving import Server

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]
MEDIA = demo_model() / "media"


def chat(*words: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "thespis", "chat", *words],
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("example", json.loads((MEDIA / "examples.json").read_text()))
def test_one_question_about_a_file(demo: Server, example: dict[str, str]) -> None:
    path = str(MEDIA / example["file"])
    asked = ("--base-url", demo.url, f"--{example['kind']}", path)
    by_words = chat(example["question"], "--verbose", *asked)
    assert by_words.stdout.strip() == example["answer"]
    assert "first token after" in by_words.stderr
    by_pipe = chat(*asked, given=example["question"])
    assert (by_pipe.stdout, by_pipe.stderr) == (by_words.stdout, "")


@pytest.mark.parametrize("kind", ["image", "video", "audio"])
async def test_a_server_is_measured_with_media(demo: Server, kind: str) -> None:
    flags = "--streams 2 --requests 4 --max-tokens 2 --prompt-tokens 4 --size 64 --seconds 0.5"
    words = ["bench", "serve", "--base-url", demo.url, "--media", kind, *flags.split(), "--json"]
    (level,) = await serve.measure(build_parser("bench").parse_args(words))
    assert (level.requests, level.tokens) == (4, 8)
    assert level.prompt_tokens > 4 * 8  # of which the items are some
