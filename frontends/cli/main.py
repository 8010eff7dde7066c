"""`thespis`: one command, a few verbs, of which only the one that is called is imported."""

import argparse
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from .elsewhere import WORDS_OF_RUN, meant

EXAMPLES = """\
examples:
  thespis serve                          serve the bundled model on http://127.0.0.1:8000/v1
  thespis serve ORG/NAME                 serve a model of the hub, which is fetched once
  thespis serve ./Qwen2-VL --port 9000   serve a checkpoint folder
  thespis demo                           ask the bundled model about an image, a video and a sound
  thespis chat                           chat with it in the terminal; /? lists what may be typed
  thespis chat "What is that?" --image PATH   one question, one answer
  thespis bench serve --streams 1,8,32   measure a running server

`thespis COMMAND --help` lists a command's flags.
"""


class Command(NamedTuple):
    module: str
    """Below this package; has `add_arguments(parser)` and `run(arguments) -> int`."""
    line: str


COMMANDS: dict[str, Command] = {
    "serve": Command(
        "serve",
        "start an engine and its HTTP server, with the APIs of OpenAI, Anthropic and Ollama",
    ),
    "demo": Command("demo", "ask the bundled model about bundled media and check its answers"),
    "chat": Command("chat", "chat in the terminal, with images, video and audio"),
    "pull": Command("pull", "fetch a model of the hub into the cache, and start nothing"),
    "models": Command("models", "list the models in the cache, and which of them run here"),
    "bench": Command("bench", "measure latency and throughput of a server"),
    "run-batch": Command("run_batch", "answer the requests of a batch file, without a server"),
    "run": Command(
        "run", "demo and server in one: ask, then keep serving (what scripts/run starts)"
    ),
}


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser; only the flags of `command` are in it, as reading all would import everything."""
    parser = argparse.ArgumentParser(
        prog="thespis",
        description="Thespis serves multimodal language models: text, images, video, audio and "
        "documents in, streamed text or vectors out.",
        epilog=EXAMPLES,
        formatter_class=_Commands,
    )
    parser.add_argument(
        "-v", "-V", "--version", action="store_true", help="print the version and exit"
    )
    verbs = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, known in COMMANDS.items():
        verb = verbs.add_parser(
            name,
            help=known.line,
            description=known.line[0].upper() + known.line[1:] + ".",
            formatter_class=_Formatter,
        )
        if name == command:
            import_module(f".{known.module}", __package__).add_arguments(verb)
    return parser


class _Commands(argparse.RawDescriptionHelpFormatter):
    """argparse takes commands for shorter than they are, by what they are set in."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = 4 + max(map(len, COMMANDS))


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Wide enough that most flags take one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=36)


def without_keys(words: Sequence[str]) -> list[str]:
    """A command line as everybody may read it."""
    shown = [re.sub(r"\A(--api[-_]key=).+", r"\1***", word, flags=re.DOTALL) for word in words]
    return [
        "***" if before in ("--api-key", "--api_key") else word
        for before, word in zip(["", *shown], shown, strict=False)
    ]


def _hide_keys() -> None:
    """Every user of this machine can read the command lines of all processes."""
    if (shown := without_keys(sys.orig_argv)) != sys.orig_argv:
        import setproctitle

        setproctitle.setproctitle(" ".join(shown))


def parse(given: list[str]) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """The parser and what it has read. Ends the program with the usage of the command meant."""
    words = [word for word in given if not word.startswith("-")]
    parser = build_parser(words[0] if words else None)
    if words and given[0] != words[0] and given[0] not in ("-h", "--help", "-v", "-V", "--version"):
        parser.error(
            f"there is no flag {given[0]} before the command: flags follow it, as in `thespis "
            f"serve --port 9000`"
        )
    if words and words[0] not in COMMANDS:
        parser.error(f"there is no command {words[0]!r}. {meant(words[0], COMMANDS)}")
    verb = _verb_of(parser, words)
    _refuse_unknown_kind(verb, words)
    hyphenated = _hyphenated(given, verb)
    _refuse_value_of_switch(hyphenated, verb)
    parsed, strange = parser.parse_known_args(hyphenated)
    if strange:
        verb.error(_unknown(strange, verb))
    return parser, parsed


def _verb_of(parser: argparse.ArgumentParser, words: list[str]) -> argparse.ArgumentParser:
    """The parser of the flags: that of the command, or of what stands below it (`bench serve`)."""
    for word in words:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction) and word in action.choices:
                parser = action.choices[word]
                break
        else:
            break
    return parser


def _refuse_unknown_kind(verb: argparse.ArgumentParser, words: list[str]) -> None:
    """Of a command that has others below it."""
    for action in verb._actions:
        if isinstance(action, argparse._SubParsersAction) and words[1:]:
            told = meant(words[1], list(action.choices), words[0])
            verb.error(f"there is no {words[0]} {words[1]!r}. {told}")


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    return [flag for flag in parser._option_string_actions if flag.startswith("--")]


def _hyphenated(given: list[str], verb: argparse.ArgumentParser) -> list[str]:
    """`--max_model_len=512` as `--max-model-len=512`: vLLM and its scripts have both spellings."""
    known = set(_flags(verb))
    words = []
    for word in given:
        flag, equals, value = word.partition("=")
        usual = flag.replace("_", "-")
        words.append(usual + equals + value if usual in known else word)
    return words


def _refuse_value_of_switch(words: list[str], verb: argparse.ArgumentParser) -> None:
    """Of `--deterministic=1` argparse says that the value is ignored, and ends all the same."""
    switches = [
        known for known in verb._actions if isinstance(known, argparse.BooleanOptionalAction)
    ]
    for word in words:
        flag, equals, _ = word.partition("=")
        for switch in switches:
            if equals and flag in switch.option_strings:
                told = " or ".join(switch.option_strings)
                verb.error(f"{flag} takes no value: write {told} alone")


def _unknown(strange: list[str], parser: argparse.ArgumentParser) -> str:
    """Names the first flag that there is not, or else the first argument that is too many."""
    from ..unbuilt import SHORT, nearest, unbuilt

    flag = next((word.partition("=")[0] for word in strange if word.startswith("-")), None)
    if flag is None:
        taken_by = {one.dest for one in parser._actions if not one.option_strings}
        if "question" in taken_by:
            taken = "MODEL and QUESTION stand side by side, and every other word belongs to a flag"
        elif "model" in taken_by:
            taken = "there is one MODEL, and every other word belongs to a flag"
        elif parser.prog.endswith(" run"):
            taken = WORDS_OF_RUN
        elif "--base-url" in parser._option_string_actions and "://" in strange[0]:
            taken = "an address is given by --base-url"
        else:
            taken = "this command takes flags alone"
        return f"unexpected argument {strange[0]!r}: {taken}"
    name, *spelled = (one.strip("-").replace("-", "_") for one in (flag, *_flags(parser)))
    why, near = unbuilt(name, spelled), nearest(SHORT.get(name, name), spelled)
    if why is None:
        why = f"Did you mean --{near.replace('_', '-')}?" if near else None
    return f"there is no flag {flag}. {why or f'`{parser.prog} --help` lists the flags.'}"


def main(arguments: list[str] | None = None) -> None:
    _hide_keys()
    parser, parsed = parse(sys.argv[1:] if arguments is None else arguments)
    if parsed.version:
        from ...protocol.version import version

        print(f"thespis {version()}")
        return
    if parsed.command is None:
        parser.print_help()
        return
    from ...protocol.errors import EngineError
    from .printing import printable

    try:
        sys.exit(import_module(f".{COMMANDS[parsed.command].module}", __package__).run(parsed))
    except (EngineError, ValueError) as error:
        # Some are a server's words.
        print(f"thespis {parsed.command}: {printable(str(error))}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
