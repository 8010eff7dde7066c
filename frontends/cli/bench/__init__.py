"""`thespis bench`: what a server, an engine in this process, or a start of one takes; and two
servers side by side.

A measurement is a module here: `LINE` says what it measures, `add_arguments(parser)` its flags,
`run(given)` does it.
"""

import argparse
import sys
from importlib import import_module

KINDS = (
    "serve",
    "stall",
    "cache",
    "overload",
    "offline",
    "preprocess",
    "start",
    "overhead",
    "compare",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    for kind in KINDS:
        module = import_module(f".{kind}", __name__)
        text, usage = f"Measure {module.LINE}.", f"thespis bench {kind} [flags]"
        module.add_arguments(
            kinds.add_parser(kind, help=module.LINE, description=text, usage=usage)
        )


def run(given: argparse.Namespace) -> int:
    code: int = import_module(f".{given.what}", __name__).run(given)
    if hasattr(given, "seed"):
        print(f"thespis bench: the same work again: --seed {given.seed}", file=sys.stderr)
    return code
