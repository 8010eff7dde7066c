"""`demo` and `chat` over HTTP, with a fake client behind the app."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from thespis.frontends.cli import chat, demo
from thespis.frontends.cli.api import Api, Stage
from thespis.frontends.cli.main import build_parser
from thespis.protocol.errors import EngineError, Failure
from thespis.protocol.requests.request import ChatPrompt, Encoded, Slot, Text

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


async def talk(client: FakeClient, *lines: str) -> None:
    left: Iterator[str] = iter(lines)
    async with served(client) as url:
        await chat.talk(
            url,
            build_parser("chat").parse_args(["chat", "--system", "be brief"]),
            lambda: next(left, None),
        )


async def test_a_chat_remembers_shows_pictures_and_forgets(
    media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = FakeClient()
    await talk(
        client,
        f"/image {media / 'a.png'}",
        "what is it?",
        "",
        "and now?",
        "/clear",
        "again",
        "/quit",
        "never read",
    )
    prompts = [submitted[0] for submitted in client.submitted]
    assert all(isinstance(prompt, ChatPrompt) for prompt in prompts)
    roles = [[message.role for message in prompt.messages] for prompt in prompts]  # type: ignore[union-attr]
    assert roles == [
        ["system", "user"],
        ["system", "user", "assistant", "user"],
        ["system", "user"],
    ]
    assert prompts[0].messages[1].content == (Slot(0), Text("what is it?"))  # type: ignore[union-attr]
    assert isinstance(client.submitted[0][1][0].source, Encoded)
    assert [len(submitted[1]) for submitted in client.submitted] == [1, 1, 0]
    assert capsys.readouterr().out.count(ANSWER) == 3


async def test_a_refused_message_is_taken_back_and_the_chat_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = FakeClient()
    client.refusal = Failure("invalid_request", "This is too long.")
    conversation = chat.ChatSession()
    conversation.say("x")
    async with served(client) as url, Api(url) as api:
        given = build_parser("chat").parse_args(["chat"])
        await chat._answer(api, "fake-model", conversation, given)
    assert "This is too long." in capsys.readouterr().out
    assert conversation.messages == []


async def test_ctrl_c_stops_an_answer_and_not_the_chat(capsys: pytest.CaptureFixture[str]) -> None:
    client = FakeClient()
    client.words, client.pace = ["word "] * 1000, 0.02
    conversation = chat.ChatSession()
    conversation.say("x")

    async def interrupt() -> None:
        while not client.submitted:
            await asyncio.sleep(client.pace)
        for _ in range(10):  # turns of the loop, in which words come, however slow the machine is
            await asyncio.sleep(client.pace)
        os.kill(os.getpid(), signal.SIGINT)

    async with served(client) as url, Api(url) as api, asyncio.TaskGroup() as tasks:
        tasks.create_task(interrupt())
        await chat._answer(
            api, "fake-model", conversation, build_parser("chat").parse_args(["chat"])
        )
        async with asyncio.timeout(20):
            await client.cancel_seen.wait()
    assert "[stopped]" in capsys.readouterr().out
    assert conversation.messages[-1]["role"] == "assistant"
    assert conversation.messages[-1]["content"].startswith("word word")


def test_a_command_that_there_is_not_shows_those_that_there_are(tmp_path: Path) -> None:
    conversation = chat.ChatSession()
    assert "/image PATH" in conversation.command("/help")
    assert "needs a path" in conversation.command("/audio")
    with pytest.raises(EngineError, match="Cannot read"):
        conversation.command(f"/image {tmp_path / 'none.png'}")
