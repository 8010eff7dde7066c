"""`thespis`: one command, a few verbs. Each verb's module is imported only when it is called, so that --help is fast."""

import argparse
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

EXAMPLES = """\
examples:
  thespis serve                          serve the bundled model on http://127.0.0.1:8000/v1
  thespis serve ./Qwen2-VL --port 9000   serve a checkpoint folder
  thespis demo                           ask the bundled model about an image, a video and a sound
  thespis chat                           chat with it in the terminal; /image PATH attaches an image
  thespis bench serve --streams 1,8,32   measure a running server

`thespis COMMAND --help` lists a command's flags.
"""


class Command(NamedTuple):
    module: str
    """Below this package; has `add_arguments(parser)` and `run(arguments) -> int`."""
    line: str


COMMANDS: dict[str, Command] = {
    "serve": Command("serve", "start an engine and its OpenAI-compatible HTTP server"),
    "demo": Command("demo", "ask the bundled model about bundled media and check its answers"),
    "chat": Command("chat", "chat in the terminal, with images, video and audio"),
    "bench": Command("bench", "measure latency and throughput of a server"),
    "run": Command("run", "demo and server in one: ask, then keep serving (what scripts/run starts)"),
}


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser; only the flags of `command` are in it, as reading all would import everything."""
    parser = argparse.ArgumentParser(
        prog="thespis",
        description="Thespis serves multimodal language models: text, images, video and audio in, streamed text out.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    verbs = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, known in COMMANDS.items():
        verb = verbs.add_parser(
            name, help=known.line, description=known.line[0].upper() + known.line[1:] + ".", formatter_class=_Formatter
        )
        if name == command:
            import_module(f".{known.module}", __package__).add_arguments(verb)
    return parser


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Wide enough that most flags take one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=36)


def without_keys(words: Sequence[str]) -> list[str]:
    """A command line as everybody may read it."""
    shown = [re.sub(r"\A(--api-key=).+", r"\1***", word, flags=re.DOTALL) for word in words]
    return ["***" if before == "--api-key" else word for before, word in zip(["", *shown], shown, strict=False)]


def _hide_keys() -> None:
    """Every user of this machine can read the command lines of all processes."""
    if (shown := without_keys(sys.orig_argv)) != sys.orig_argv:
        import setproctitle

        setproctitle.setproctitle(" ".join(shown))


def main(arguments: list[str] | None = None) -> None:
    _hide_keys()
    given = sys.argv[1:] if arguments is None else arguments
    command = next((word for word in given if not word.startswith("-")), None)
    parser = build_parser(command)
    parsed = parser.parse_args(given)
    if parsed.version:
        from importlib.metadata import version

        print(f"thespis {version('thespis')}")
        return
    if parsed.command is None:
        parser.print_help()
        return
    from ...protocol.errors import EngineError

    try:
        sys.exit(import_module(f".{COMMANDS[parsed.command].module}", __package__).run(parsed))
    except (EngineError, ValueError) as error:
        print(f"thespis {parsed.command}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
