"""`thespis chat` at a terminal: what Ctrl-C and Ctrl-D do, through a pty."""

import asyncio
import contextlib
import os
import pty
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ...openai.fake import FakeClient, served

pytestmark = pytest.mark.timeout(60)
CTRL_C, CTRL_D = b"\x03", b"\x04"
START = (
    "import os, sys; os.login_tty(0); from thespis.frontends.cli.main import main; "
    "main(sys.argv[1:])"
)


class Terminal:
    """A chat on a pty of its own. `shows` waits for a text, and forgets what was shown up to it."""

    def __init__(
        self, process: "asyncio.subprocess.Process", screen: asyncio.StreamReader, keyboard: int
    ) -> None:
        self.process, self._screen, self._keyboard = process, screen, keyboard
        self._shown = b""

    def types(self, keys: bytes) -> None:
        os.write(self._keyboard, keys)

    def resized(self, columns: int) -> None:
        termios.tcsetwinsize(self._keyboard, (24, columns))

    async def interrupted(self) -> None:
        """Ctrl-C until the next prompt is there: readline hears nothing in the moment between its
        prompt and its waiting."""
        while True:
            self.types(CTRL_C)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self.shows(b"> ")
                    return

    async def shows(self, text: bytes) -> bytes:
        """What stood before it."""
        while text not in self._shown:
            data = await self._screen.read(4096)
            assert data, self._shown
            self._shown += data
        before, _, self._shown = self._shown.partition(text)
        return before


@contextlib.asynccontextmanager
async def chatting(url: str, term: str = "xterm") -> AsyncIterator[Terminal]:
    keyboard, screen = pty.openpty()
    command = [sys.executable, "-P", "-c", START, "chat", "--base-url", url]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=screen, stdout=screen, stderr=screen, env={**os.environ, "TERM": term}
    )
    os.close(screen)
    reader = asyncio.StreamReader()
    file = os.fdopen(os.dup(keyboard), "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), file
    )
    try:
        terminal = Terminal(process, reader, keyboard)
        await terminal.shows(b"> ")
        yield terminal
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        transport.close()
        os.close(keyboard)


def said(client: FakeClient) -> list[str]:
    """The last message of each request."""
    return [submitted[0].messages[-1].content[-1].text for submitted in client.submitted]  # type: ignore[union-attr]


async def test_ctrl_c_at_the_prompt_clears_the_line_and_the_chat_goes_on() -> None:
    client = FakeClient()
    async with served(client) as url, chatting(url) as terminal:
        for _ in range(2):
            terminal.types(b"half a li")
            await terminal.shows(b"half a li")
            await terminal.interrupted()
        terminal.types(b"hello\r")
        await terminal.shows(b"circle")
        await terminal.shows(b"> ")
        terminal.types(CTRL_D)
        assert await terminal.process.wait() == 0
    assert said(client) == ["hello"]


async def test_ctrl_c_in_an_answer_stops_the_answer_alone() -> None:
    client = FakeClient()
    client.words, client.pace = ["word "] * 1000, 0.02
    async with served(client) as url, chatting(url) as terminal:
        for line in (b"one\r", b"two\r"):
            terminal.types(line)
            await terminal.shows(b"word word")
            terminal.types(CTRL_C)
            await terminal.shows(b"[stopped]")
            await terminal.shows(b"> ")
        await terminal.interrupted()
        terminal.types(b"/help\r")
        await terminal.shows(b"/image PATH")
        await terminal.shows(b"> ")
        terminal.types(b"/bye\r")
        assert await terminal.process.wait() == 0
    assert said(client) == ["one", "two"]


async def test_ctrl_d_at_the_first_prompt_ends_it_well() -> None:
    async with served(FakeClient()) as url, chatting(url) as terminal:
        terminal.types(CTRL_D)
        assert await terminal.process.wait() == 0


@pytest.mark.parametrize(
    ("term", "paste"),
    [
        ("xterm", b"\x1b[200~first\r\n/clear\rlast\x1b[201~\r"),
        ("dumb", b"first\r/clear\rlast\r"),  # which marks no pastes
    ],
)
async def test_a_pasted_block_is_one_message(term: str, paste: bytes) -> None:
    client = FakeClient()
    async with served(client) as url, chatting(url, term) as terminal:
        terminal.types(paste)
        await terminal.shows(b"circle")
        await terminal.shows(b"> ")
        terminal.types(b"/bye\r")
        assert await terminal.process.wait() == 0
    assert said(client)[0].split() == ["first", "/clear", "last"]
    assert len(said(client)) == 1


async def test_lines_between_quotes_a_dropped_picture_and_figures(tmp_path: Path) -> None:
    client = FakeClient()
    client.pace = 0.01
    picture = tmp_path / "a b.png"
    picture.write_bytes(b"image")
    async with served(client) as url, chatting(url) as terminal:
        terminal.types(b'"""one\r')
        await terminal.shows(b"... ")
        terminal.types(b'two"""\r')
        await terminal.shows(b"tokens/s")
        await terminal.shows(b"> ")
        terminal.types(str(picture).replace(" ", "\\ ").encode() + b" what?\r")
        await terminal.shows(b"a b.png goes with")
        await terminal.shows(b"tokens/s")
        await terminal.shows(b"> ")
        terminal.types(b"/bye\r")
        assert await terminal.process.wait() == 0
    assert said(client)[0] == "one\ntwo"
    assert [len(media) for _, media, *_ in client.submitted] == [0, 1]


async def test_what_was_typed_before_comes_back_by_the_up_key() -> None:
    client = FakeClient()
    async with served(client) as url, chatting(url) as terminal:
        for keys in (b"once\r", b"\x1b[A\r"):
            terminal.types(keys)
            await terminal.shows(b"circle")
            await terminal.shows(b"> ")
        terminal.types(CTRL_D)
        assert await terminal.process.wait() == 0
    assert said(client) == ["once", "once"]


async def test_who_waits_for_the_first_token_is_told_how_long() -> None:
    client = FakeClient()
    client.words, client.pace = ["circle"], 1.8
    async with served(client) as url, chatting(url) as terminal:
        terminal.types(b"slow\r")
        await terminal.shows(b"waiting for the first token, 1 s")
        gone = await terminal.shows(b"circle")
        assert b"\r" + b" " * len("waiting for the first token, 1 s") + b"\r" in gone
        await terminal.shows(b"> ")
        terminal.types(b"stopped\r")
        await terminal.shows(b"waiting for")
        terminal.types(CTRL_C)
        await terminal.shows(b"[stopped]")
        await terminal.shows(b"> ")
        terminal.types(CTRL_D)
        assert await terminal.process.wait() == 0


async def test_a_narrow_terminal_shows_the_waiting_in_one_line() -> None:
    client = FakeClient()
    client.words, client.pace = ["circle"], 1.8
    async with served(client) as url, chatting(url) as terminal:
        terminal.resized(columns=20)
        terminal.types(b"slow\r")
        await terminal.shows(b"waiting for the fir")
        gone = await terminal.shows(b"circle")
        assert gone.replace(b"\rwaiting for the fir", b"") == b"\r" + b" " * 19 + b"\r"


async def test_a_byte_that_is_no_text_ends_no_conversation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")
    picture = os.fsencode(tmp_path) + b"/\xff.png"
    with open(picture, "wb") as file:
        file.write(b"image")
    client = FakeClient()
    async with served(client) as url, chatting(url) as terminal:
        for line in (b"caf\xff?", b"Look, " + picture + b" is it."):
            terminal.types(line + b"\r")
            await terminal.shows(b"circle")
            await terminal.shows(b"> ")
        terminal.types(CTRL_D)
        assert await terminal.process.wait() == 0
    assert said(client) == ["caf\ufffd?", "Look, \ufffd.png is it."]
    assert [len(submitted[1]) for submitted in client.submitted] == [0, 1]


async def test_an_answer_sends_the_terminal_no_commands() -> None:
    client = FakeClient()
    client.words = ["\x1b]0;owned\x07", "\x1b[5n", "seen"]
    async with served(client) as url, chatting(url) as terminal:
        terminal.types(b"x\r")
        shown = await terminal.shows(b"seen")
        await terminal.shows(b"> ")
        terminal.types(CTRL_D)
        await terminal.process.wait()
    assert b"\x1b]0;owned" not in shown
    assert b"\x1b[5n" not in shown
