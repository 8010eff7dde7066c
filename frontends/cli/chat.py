"""`thespis chat`: a conversation in the terminal."""

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from ...protocol.config.engine import EngineConfig
from ...protocol.config.server import ServerConfig
from ...protocol.errors import EngineError
from .api import Api, ApiError
from .demo import PARTS, media_part
from .flags import add_flags, add_model, add_server, build
from .server import serving

HELP = """\
/image PATH, /video PATH, /audio PATH   attach a file to the next message
/clear                                  start a new conversation
/quit                                   leave, as Ctrl-D; Ctrl-C stops an answer or clears the line\
"""


class ChatSession:
    """What has been said, and the media of the next message. Only files are read."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._waiting: list[dict[str, Any]] = []

    def command(self, line: str) -> str:
        """Does what a line with a slash says; the text to show. Raises EngineError."""
        name, _, rest = line[1:].partition(" ")
        if name in PARTS:
            if not rest.strip():
                return f"/{name} needs a path"
            path = Path(rest.strip()).expanduser()
            self._waiting.append(media_part(name, path))
            return f"{path.name} goes with the next message"
        if name == "clear":
            self.messages, self._waiting = [], []
            return "the conversation is forgotten"
        return HELP

    def say(self, text: str) -> None:
        content = [*self._waiting, {"type": "text", "text": text}] if self._waiting else text
        self.messages.append({"role": "user", "content": content})
        self._waiting = []

    def hear(self, answer: str) -> None:
        self.messages.append({"role": "assistant", "content": answer})

    def take_back(self) -> None:
        """A message that was refused must not be refused again with every later one."""
        self.messages.pop()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add_server(parser)
    parser.add_argument("--system", metavar="TEXT", help="a system message")
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        metavar="X",
        help="0: always the most likely token (default: %(default)s)",
    )
    parser.add_argument(
        "--max-tokens",
        type=int,
        metavar="N",
        help="tokens of one answer (default: as many as the context leaves)",
    )
    group = parser.add_argument_group("engine", "ignored with --base-url")
    add_flags(group, EngineConfig, skip=("model",))
    parser.usage = "thespis chat [MODEL] [flags]"
    parser.epilog = HELP


def run(given: argparse.Namespace) -> int:
    with contextlib.ExitStack() as stack:
        url = given.base_url
        if url is None:
            print("starting the engine ...", flush=True)
            url = stack.enter_context(serving(build(EngineConfig, given), ServerConfig(port=0))).url
        print(HELP, flush=True)
        with asyncio.Runner() as runner:
            runner.run(talk(url, given, _lines()))
    return 0


def _lines() -> Callable[[], str | None]:
    """Reads the terminal; None at its end."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (history and editing in input())

    def read() -> str | None:
        while True:
            try:
                with _at_interrupt(signal.default_int_handler):
                    return input("\n> ")
            except KeyboardInterrupt:
                print()  # the line is gone; the next prompt begins a new one
            except EOFError:
                print()
                return None

    return read


@contextlib.contextmanager
def _at_interrupt(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """What Ctrl-C does meanwhile."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Ctrl-C between answer and prompt: too late for the one, and no word to the other."""


async def talk(url: str, given: argparse.Namespace, read: Callable[[], str | None]) -> None:
    """`read` blocks, and nothing else runs meanwhile: the terminal is the only source of events."""
    conversation = ChatSession()
    async with Api(url, given.api_key) as api:
        model = await api.model()
        with _at_interrupt(_nothing):
            while (line := read()) is not None and (line := line.strip()) != "/quit":
                if line.startswith("/"):
                    try:
                        print(conversation.command(line))
                    except EngineError as error:
                        print(error)
                elif line:
                    conversation.say(line)
                    await _answer(api, model, conversation, given)


async def _answer(
    api: Api, model: str, conversation: ChatSession, given: argparse.Namespace
) -> None:
    system = [{"role": "system", "content": given.system}] if given.system else []
    messages, temperature = system + conversation.messages, given.temperature
    body: dict[str, Any] = {"model": model, "messages": messages, "temperature": temperature}
    if given.max_tokens is not None:
        body["max_tokens"] = given.max_tokens
    said: list[str] = []
    task = asyncio.ensure_future(_show(api, body, said))
    loop, otherwise = asyncio.get_running_loop(), signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await asyncio.wait([task])
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, otherwise)
        task.cancel()
    if task.cancelled():
        print("\n[stopped]")
    elif isinstance(error := task.exception(), ApiError):
        print(f"\n{error}")
    else:
        task.result()
        print()
    if said:
        conversation.hear("".join(said))
    else:
        conversation.take_back()


async def _show(api: Api, body: dict[str, Any], said: list[str]) -> None:
    async for chunk in api.stream("/v1/chat/completions", body):
        for choice in chunk.choices:
            if choice.words:
                said.append(choice.words)
            print(choice.words, end="", flush=True)
