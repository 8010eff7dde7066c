"""A chat over HTTP, with a fake client behind the app, and without a terminal."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from thespis.frontends.cli import chat
from thespis.frontends.cli.api import ApiError, Chunk, ChunkChoice, Delta, PromptDetails, Usage
from thespis.frontends.cli.chat.answering import ChatAnswer
from thespis.frontends.cli.chat.session import ChatSession
from thespis.frontends.cli.main import build_parser, main
from thespis.protocol.errors import Failure
from thespis.protocol.requests.request import ChatPrompt, Encoded, Slot, Text

from ...openai.fake import FakeClient, served

ANSWER = "a red circle é!"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a b.png"
    path.write_bytes(b"image")
    return path


async def talk(
    client: FakeClient,
    *lines: str,
    flags: tuple[str, ...] = (),
    before: Callable[[str], None] = lambda line: None,
) -> ChatSession:
    """`before`: what happens before each line is read."""
    left, session = iter(lines), ChatSession()

    def read(prompt: str) -> str | None:
        if (line := next(left, None)) is not None:
            before(line)
        return line

    given = build_parser("chat").parse_args(["chat", *flags])
    async with served(client) as url:
        await chat.chat(url, given, session, None, read)
    return session


def roles(client: FakeClient) -> list[list[str]]:
    prompts = [submitted[0] for submitted in client.submitted]
    assert all(isinstance(prompt, ChatPrompt) for prompt in prompts)
    return [[message.role for message in prompt.messages] for prompt in prompts]  # type: ignore[union-attr]


async def test_a_chat_remembers_shows_pictures_and_forgets(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = FakeClient()
    await talk(
        client,
        f"/image {picture}",
        "what is it?",
        "",
        "and now?",
        "/clear",
        "again",
        "/bye",
        "never read",
        flags=("--system", "be brief"),
    )
    assert roles(client) == [
        ["system", "user"],
        ["system", "user", "assistant", "user"],
        ["system", "user"],
    ]
    assert client.submitted[0][0].messages[1].content == (Slot(0), Text("what is it?"))  # type: ignore[union-attr]
    assert isinstance(client.submitted[0][1][0].source, Encoded)
    assert [len(submitted[1]) for submitted in client.submitted] == [1, 1, 0]
    assert capsys.readouterr().out.count(ANSWER) == 3


async def test_paths_in_a_line_are_attached_and_others_said(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = FakeClient()
    none = tmp_path / "none.png"
    await talk(
        client,
        f"'{picture}' what is it?",
        f"{picture.as_uri()}",  # alone: it waits for a message
        "and that?",
        f"What? {none}",
        f'"""two lines,\none of them {picture.as_uri()}"""',
        f"{picture.as_uri()}\n'{picture}'",  # several, dropped
        "both?",
    )
    assert [len(submitted[1]) for submitted in client.submitted] == [1, 2, 2, 2, 4]
    said = [submitted[0].messages[-1].content for submitted in client.submitted]  # type: ignore[union-attr]
    assert said[0] == (Slot(0), Text("what is it?"))
    assert said[2][-1] == Text(f"What? {none}")
    assert said[3][-1] == Text(f"two lines,\none of them {picture.as_uri()}")
    out = capsys.readouterr().out
    assert "a b.png goes with the next message" in out
    assert f"Cannot read {none}: No such file or directory. It stays text." in out


async def test_settings_go_into_requests(capsys: pytest.CaptureFixture[str]) -> None:
    client = FakeClient()
    await talk(
        client, "/set temperature 0.5", "/set max_tokens 2", "/set seed x", "/set", "hi", "/show"
    )
    sampling = client.submitted[0][2]
    assert (sampling.temperature, sampling.max_tokens) == (0.5, 2)
    out = capsys.readouterr().out
    assert "seed may be a whole number" in out
    assert "max_tokens         2" in out
    assert "fake-model" in out
    assert "1 and 1 answers" in out


async def test_an_answer_is_given_again(capsys: pytest.CaptureFixture[str]) -> None:
    client = FakeClient()
    session = await talk(client, "/retry", "hi", "/retry", "more")
    assert roles(client) == [["user"], ["user"], ["user", "assistant", "user"]]
    assert len(session.messages) == 4
    assert "nothing to answer again" in capsys.readouterr().out


async def test_a_refused_message_is_taken_back_and_may_be_asked_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = FakeClient()

    def before(line: str) -> None:
        client.refusal = Failure("invalid_request", "Too \x1b[31mlong.") if line == "x" else None

    session = await talk(client, "x", "/show", "/retry", before=before)
    out = capsys.readouterr().out
    assert "long." in out
    assert "\x1b" not in out
    assert "0 and 0 answers" in out
    assert [message["role"] for message in session.messages] == ["user", "assistant"]


async def test_a_retry_that_fails_leaves_the_answer_that_was() -> None:
    client = FakeClient()

    def before(line: str) -> None:
        client.refusal = Failure("overloaded", "Full.") if line == "/retry" else None

    session = await talk(client, "x", "/retry", before=before)
    assert [message["content"] for message in session.messages] == ["x", ANSWER]


async def test_a_conversation_is_kept_in_a_file(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client, file = FakeClient(), tmp_path / "my talk.json"
    await talk(client, "/set top_p 0.5", f"'{picture}' hi", f"/save '{file}'", "/save", "/load")
    session = await talk(client, f"/load {file}", "more", f"/load {picture}")
    assert len(client.submitted[-1][1]) == 1
    assert client.submitted[-1][2].top_p == 0.5
    assert [message["role"] for message in session.messages] == ["user", "assistant"] * 2
    out = capsys.readouterr().out
    assert f"2 messages are in {file}" in out
    assert "2 messages are remembered" in out
    assert "/save needs a path" in out
    assert "That file is no saved conversation." in out
    assert json.loads(file.read_text())["model"] == "fake-model"


async def test_an_answer_writes_nothing_but_text_to_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = FakeClient()
    client.words = ["\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "over\rwritten", "\x08\x7f", "\tok\n"]
    await talk(client, "x")
    out = capsys.readouterr().out
    assert not set(out) & set("\x1b\x07\x9b\r\x08\x7f")
    assert "␛[2J" in out
    assert "\tok\n" in out


async def test_figures_of_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    client = FakeClient()
    client.pace = 0.01
    await talk(client, "x", "/set quiet", "y")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "tokens/s" in line]
    assert line.startswith("[5 tokens, ")
    assert line.endswith("prompt 3, 2 of them cached]")


def test_S73_thinking_is_shown_and_not_kept() -> None:
    answer = ChatAnswer(words=[])
    deltas = [Delta(reasoning_content="so"), Delta(reasoning=" it"), Delta("y"), Delta("es")]
    shown = [
        answer.add(Chunk([ChunkChoice(delta=delta)]), 0.5 + nth) for nth, delta in enumerate(deltas)
    ]
    assert "".join(shown) == "[thinking]\nso it\n[answer]\nyes"
    assert (answer.text, answer.first, answer.last) == ("yes", 0.5, 3.5)


def test_figures_by_a_clock_of_our_own() -> None:
    answer = ChatAnswer(words=[])
    for nth, word in enumerate("abc"):
        answer.add(Chunk([ChunkChoice(delta=Delta(word))]), 0.5 + nth * 0.25)
    assert answer.figures() == "[first token after 500 ms; 3 pieces in 1.0 s]"
    answer.add(Chunk(usage=Usage(9, 3, PromptDetails(0))), 2.0)
    assert answer.figures() == "[3 tokens, 4.0 tokens/s, first token after 500 ms; prompt 9]"


async def test_beside_an_address_the_model_is_one_of_that_server() -> None:
    client = FakeClient()

    async def ask(url: str, model: str) -> int:
        given = build_parser("chat").parse_args(["chat", model, "hi", "--base-url", url])
        return await chat.chat(url, given, ChatSession(), given.question)

    async with served(client) as url:
        assert await ask(url, "fake-model") == 0
        with pytest.raises(ApiError, match="serves fake-model and no model 'org/other'"):
            await ask(url, "org/other")
    assert len(client.submitted) == 1


async def test_what_comes_of_a_full_context_and_of_no_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = FakeClient()
    full = Failure("invalid_request", "Too long.", code="context_length_exceeded")

    def before(line: str) -> None:
        client.refusal = full if line == "two" else None
        client.words = client.words if line != "three" else []

    session = await talk(client, "one", "two", "/", "three", before=before)
    out = capsys.readouterr().out
    assert "Too long.\n/clear begins a new conversation" in out
    assert out.count("/retry  ") == 2  # at the beginning, and for a slash alone
    assert "[an answer without words]" in out
    assert [message["content"] for message in session.messages] == ["one", ANSWER]


def test_no_rate_is_told_of_tokens_that_came_at_once() -> None:
    answer = ChatAnswer(words=["a", "b"], first=0.5, last=0.5001, usage=Usage(9, 6))
    assert answer.figures() == "[6 tokens, first token after 500 ms; prompt 9]"


async def test_a_command_that_there_is_not_shows_those_that_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await talk(
        FakeClient(),
        "/retrie",
        "/audio",
        f"/image {tmp_path / 'none.png'}",
        "/save ~no-such-person/x",
    )
    out = capsys.readouterr().out
    assert "there is no /retrie; did you mean /retry?" in out
    assert "/image PATH" in out
    assert "/audio needs a path" in out
    assert "Cannot read" in out
    assert "Nobody here has the home folder" in out


async def test_ctrl_c_stops_an_answer_and_not_the_chat(capsys: pytest.CaptureFixture[str]) -> None:
    client = FakeClient()
    client.words, client.pace = ["word "] * 1000, 0.02

    async def interrupt() -> None:
        while not client.submitted:
            await asyncio.sleep(client.pace)
        for _ in range(10):  # turns of the loop, in which words come, however slow the machine is
            await asyncio.sleep(client.pace)
        os.kill(os.getpid(), signal.SIGINT)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(interrupt())
        session = await talk(client, "x")
    async with asyncio.timeout(20):
        await client.cancel_seen.wait()
    assert "[stopped]" in capsys.readouterr().out
    assert session.messages[-1]["role"] == "assistant"
    assert session.messages[-1]["content"].startswith("word word")


async def test_ctrl_c_in_a_block_forgets_it() -> None:
    client = FakeClient()
    lines = iter(['"""half', None, "whole"])
    asked = list[str]()

    def read(prompt: str) -> str | None:
        asked.append(prompt)
        if len(asked) == 4:
            return None
        line = next(lines)
        if line is None:
            raise KeyboardInterrupt
        return line

    async with served(client) as url:
        given = build_parser("chat").parse_args(["chat"])
        await chat.chat(url, given, ChatSession(), None, read)
    assert asked == ["\n> ", "... ", "\n> ", "\n> "]
    assert client.submitted[0][0].messages[-1].content == (Text("whole"),)  # type: ignore[union-attr]


async def piped(
    url: str, *arguments: str, given: bytes | None = None
) -> tuple[int | None, bytes, bytes]:
    """Exit code, stdout and stderr of a chat without a terminal."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "thespis", "chat", *arguments, "--base-url", url),
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate(given)
    return process.returncode, out, err


@pytest.mark.timeout(60)
async def test_one_question_by_words_or_by_a_pipe(picture: Path) -> None:
    client = FakeClient()
    only = f"{ANSWER}\n".encode()
    async with served(client) as url:
        assert await piped(url, given=b"one\ntwo\n") == (0, only, b"")
        assert await piped(url, "what is it?", "--image", str(picture)) == (0, only, b"")
        assert await piped(url, "sum up:", given=b"/clear") == (0, only, b"")
        code, out, err = await piped(url, "what is it?", "--audio", "none.wav")
        assert (code, out) == (1, b"")
        assert b"thespis chat: Cannot read none.wav" in err
        code, out, err = await piped(url)
        assert (code, out) == (1, b"")
        assert b"There is no question" in err
        code, out, err = await piped(url, "hello")
        assert code == 1
        assert b"There is no question" in err
        assert b"question of one word stands behind it, `thespis chat MODEL hello`" in err
        client.refusal = Failure("invalid_request", "Too long.")
        code, out, err = await piped(url, "a b")
        assert (code, err) == (1, b"thespis chat: Too long.\n")
        client.refusal = None
        assert (await piped(url, os.fsdecode(b"caf\xe9 au lait")))[::2] == (0, b"")
        code, out, err = await piped(url, "a b", "--temperature", "nan")
        assert (code, out) == (2, b"")
        assert b"--temperature: it may be 0 to 2;" in err
    said = [submitted[0].messages[-1].content[-1].text for submitted in client.submitted]  # type: ignore[union-attr]
    assert said == ["one\ntwo", "what is it?", "sum up:\n\n/clear", "caf\ufffd au lait"]
    assert [len(submitted[1]) for submitted in client.submitted] == [0, 1, 0, 0]


@pytest.mark.timeout(60)
async def test_a_reader_who_has_enough_ends_it_without_a_word() -> None:
    client = FakeClient()
    client.words, client.pace = ["word "] * 1000, 0.02
    async with served(client) as url:
        command = f"{sys.executable} -P -m thespis chat 'a b' --base-url {url} | head -c 4"
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", command + "; exit ${PIPESTATUS[0]}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
        await client.cancel_seen.wait()
    assert (process.returncode, out, err) == (chat.BROKEN_PIPE, b"word", b"")


@pytest.mark.parametrize(
    ("words", "model", "question"),
    [
        ([], "", ""),
        (["org/name"], "org/name", ""),
        (["what is it?"], "", "what is it?"),
        (["org/name", "hello"], "org/name", "hello"),
    ],
)
def test_one_word_is_a_model_and_several_are_a_question(
    words: list[str], model: str, question: str
) -> None:
    given = build_parser("chat").parse_args(["chat", *words])
    chat._tell_question(given)
    assert (given.model, given.question) == (model, question)


async def test_an_answer_may_have_nowhere_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    client, given = FakeClient(), build_parser("chat").parse_args(["chat"])
    monkeypatch.setattr(sys, "stdout", None)  # as `>&-` has it
    async with served(client) as url:
        assert await chat.chat(url, given, ChatSession(), "hello") == 0
    assert len(client.submitted) == 1


def test_a_word_that_is_no_model_may_have_been_a_question(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before an engine is started for it."""
    with pytest.raises(SystemExit) as end:
        main(["chat", "hello?", "--image", "cat.png"])
    assert end.value.code == 1
    told = capsys.readouterr().err
    assert "No model at 'hello?'" in told
    assert "`thespis chat MODEL hello?`" in told


async def test_of_a_server_that_runs_too() -> None:
    given = build_parser("chat").parse_args(["chat", "hello"])
    async with served(FakeClient()) as url:
        given.base_url = url
        with pytest.raises(ApiError, match=r"no model 'hello'\. One word alone is taken for a"):
            await chat.chat(url, given, ChatSession(), None, lambda prompt: None)
