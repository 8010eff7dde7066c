"""`demo` over HTTP, with a fake client behind the app."""

import json
import os
from pathlib import Path

import pytest

from thespis.frontends.cli import demo
from thespis.frontends.cli.api import Stage
from thespis.protocol.errors import EngineError

from ..openai.fake import FakeClient, served

ANSWER = "a red circle é!"


@pytest.fixture
def media(tmp_path: Path) -> Path:
    examples = []
    for kind, file in (("image", "a.png"), ("video", "b.mp4"), ("audio", "c.wav")):
        (tmp_path / file).write_bytes(kind.encode())
        examples.append({"kind": kind, "file": file, "question": "What is it?", "answer": ANSWER})
    (tmp_path / "examples.json").write_text(json.dumps(examples))
    return tmp_path


async def test_the_demo_streams_answers_and_says_where_the_time_went(
    media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = FakeClient()
    async with served(client) as url:
        assert await demo.ask_all(url, demo.load_examples(media))
    out = capsys.readouterr().out
    assert out.count(f"{ANSWER}  [right]") == 3
    assert out.count("prefill 500 ms") == 3
    assert "3 of 3 answers are right" in out
    assert [item.modality for submitted in client.submitted for item in submitted[1]] == [
        "image",
        "video",
        "audio",
    ]
    assert list(client.blobs.values()) == [b"image", b"video", b"audio"]


async def test_a_wrong_answer_is_said_to_be_wrong(
    media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = FakeClient()
    client.words = ["a", " blue", " square"]
    async with served(client) as url:
        assert not await demo.ask_all(url, demo.load_examples(media))
    assert f"[wrong, expected: {ANSWER}]" in capsys.readouterr().out


def test_without_its_examples_the_demo_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"examples\.json"):
        demo.load_examples(tmp_path)


def test_the_two_stages_called_decode_are_told_apart() -> None:
    stages = [
        Stage("queue", 0.0, 0.001),
        Stage("decode", 0.0, 0.004, "image"),
        Stage("decode", 0.1, 0.15),
    ]
    assert demo.time_line([*stages, Stage("decode", 0.0, 0.002, "image")], 0.2) == (
        "queue 1 ms | fetch - | decode media 6 ms | encode - | prefill - | decode tokens 50 ms | "
        "in all 200 ms"
    )


async def test_an_answer_moves_no_cursor(media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = FakeClient()
    client.words = ["\x1b[2J", "\x07", "\x9b", "\r"]
    async with served(client) as url:
        await demo.ask_all(url, demo.load_examples(media))
    assert not set(capsys.readouterr().out) & set("\x1b\x07\x9b\r")


@pytest.mark.parametrize("what", ["a device", "a folder", "a pipe", "nothing", "too large"])
def test_only_files_of_a_size_are_media(what: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    match what:
        case "a device":
            path = Path("/dev/zero")
        case "a folder":
            path.mkdir()
        case "a pipe":
            os.mkfifo(path)
        case "too large":
            with path.open("wb") as file:
                file.truncate(demo.MOST_FILE + 1)
    with pytest.raises(EngineError, match=r"Cannot read|larger than 192 MiB"):
        demo.media_part("image", path)
