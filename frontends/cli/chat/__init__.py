"""`thespis chat`: a conversation in the terminal, or one question from a command or a pipe."""

import argparse
import asyncio
import contextlib
import os
import stat
import sys
from collections.abc import Callable

from ....protocol.checkpoint.foreign import foreign_name
from ....protocol.config.engine import EngineConfig
from ....protocol.config.server import ServerConfig
from ....protocol.errors import EngineError
from ..api import UNKNOWN_MODEL, Api, ApiError
from ..demo import PARTS
from ..flags import add_flags, add_model, add_server, build
from ..printing import well_formed
from ..server import serving
from .keyboard import Keyboard
from .session import ChatSession
from .settings import SETTINGS, Settings, Value
from .shell import HELP, Shell, one_question

MOST_PIPED = 16 << 20
"""Bytes of a question that comes by a pipe."""
BROKEN_PIPE = 141
"""As a shell has it of who writes to a pipe that nobody reads."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    words = "ask this and end; what comes by a pipe is the question, or stands behind it"
    parser.add_argument("question", nargs="?", default="", metavar="QUESTION", help=words)
    for kind in PARTS:
        parser.add_argument(
            f"--{kind}",
            action="append",
            default=[],
            metavar="PATH",
            help=f"{kind} of the question, or of the first message; may be repeated",
        )
    add_server(parser)
    parser.add_argument("--system", type=well_formed, metavar="TEXT", help="a system message")
    parser.add_argument(
        "--temperature",
        type=_setting("temperature"),
        default=0.0,
        metavar="X",
        help="0: always the most likely token (default: %(default)s)",
    )
    parser.add_argument(
        "--max-tokens",
        type=_setting("max_tokens"),
        metavar="N",
        help="tokens of one answer (default: as many as the context leaves)",
    )
    words = "say after the one answer what it took; a conversation does, until `/set quiet`"
    parser.add_argument("--verbose", action="store_true", help=words)
    group = parser.add_argument_group("engine", "ignored with --base-url")
    add_flags(group, EngineConfig, skip=("model",))
    parser.usage = 'thespis chat [MODEL] ["QUESTION"] [flags]'
    parser.epilog = "at the prompt:\n" + HELP


def _setting(name: str) -> Callable[[str], Value]:
    """The reader of a flag that is called as what /set sets, and may be what that may."""

    def read(text: str) -> Value:
        try:
            return SETTINGS[name].read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"it may be {SETTINGS[name].may}; got {text!r}"
            ) from None

    return read


def run(given: argparse.Namespace) -> int:
    _tell_question(given)
    _refuse_lone_word(given)
    question = _question(given)
    session = ChatSession()
    for kind in PARTS:
        for path in getattr(given, kind):
            session.attach(kind, path)
    with contextlib.suppress(AttributeError):  # what a program has put in its place
        sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        with contextlib.ExitStack() as stack:
            url = given.base_url
            if url is None:
                print("starting the engine ...", file=sys.stderr, flush=True)
                config = build(EngineConfig, given)
                url = stack.enter_context(serving(config, ServerConfig(port=0))).url
            with asyncio.Runner() as runner:
                return runner.run(chat(url, given, session, question))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


async def chat(
    url: str,
    given: argparse.Namespace,
    session: ChatSession,
    question: str | None,
    read: Callable[[str], str | None] | None = None,
) -> int:
    """One question, or a conversation with who is at the keyboard; the exit code. Raises
    EngineError."""
    settings = Settings(
        temperature=given.temperature,
        max_tokens=given.max_tokens,
        system=given.system,
        verbose=(given.verbose or question is None) or None,
    )
    # An engine of our own calls its model as it likes; a server that runs may have several.
    wanted = (given.model or None) if given.base_url is not None else None
    async with Api(url, given.api_key) as api:
        try:
            model = await api.model(wanted)
        except ApiError as error:
            advice = _lone(given) if error.code == UNKNOWN_MODEL else ""
            raise ApiError(f"{error}{advice}", error.code) from None
        shell = Shell(api, model, session, settings)
        if question is not None:
            return await one_question(shell, question)
        print(HELP, flush=True)
        await shell.talk(read or Keyboard().read)
    return 0


def _tell_question(given: argparse.Namespace) -> None:
    """One word alone is the model, several are a question: no model is called so."""
    if not given.question and len(given.model.split()) > 1 and not os.path.lexists(given.model):
        given.question, given.model = given.model, ""


def _lone(given: argparse.Namespace) -> str:
    """To whom a question of one word has become a model."""
    if not given.model or given.question or "/" in given.model:
        return ""
    return (
        " One word alone is taken for a model: a question of one word stands behind it, `thespis "
        f"chat MODEL {given.model}`, or comes by a pipe."
    )


def _refuse_lone_word(given: argparse.Namespace) -> None:
    """Before anything is started. Raises EngineError."""
    is_ours = given.base_url is None
    if is_ours and (advice := _lone(given)) and not os.path.lexists(given.model):
        raise EngineError(foreign_name(given.model) + advice)


def _question(given: argparse.Namespace) -> str | None:
    """None: a person is at the keyboard. Raises EngineError."""
    if sys.stdin is not None and sys.stdin.isatty():
        return str(given.question) or None
    data = b""
    if sys.stdin is not None and (_piped() or not given.question):
        data = sys.stdin.buffer.read(MOST_PIPED + 1)
    if len(data) > MOST_PIPED:
        raise EngineError(f"The question is larger than {MOST_PIPED >> 20} MiB.")
    text = "\n\n".join(filter(None, (given.question, data.decode("utf-8", "replace").strip())))
    if not text:
        none = 'There is no question: `thespis chat "question"`, or by a pipe.'
        raise EngineError(none + _lone(given))
    return text


def _piped() -> bool:
    """Whether something comes beside the question: not from what merely is no terminal."""
    kind = os.fstat(sys.stdin.fileno()).st_mode
    return stat.S_ISFIFO(kind) or stat.S_ISREG(kind)
