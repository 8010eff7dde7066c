"""`thespis pull ORG/NAME[@REVISION]`: fetch a model into the cache, and start nothing."""

import argparse
import os

from ...protocol.checkpoint.foreign import foreign_name
from ...protocol.checkpoint.hub_id import hub_id
from ...protocol.config.engine import EngineConfig
from ...protocol.errors import EngineError
from ..hub.locate import located
from .flags import add_cache, build


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="ORG/NAME[@REVISION], and ORG/NAME:Q4_K_M where it has several GGUF files",
    )
    parser.add_argument(
        "--revision", metavar="TEXT", help="branch, tag or commit (default: the main branch)"
    )
    add_cache(parser)
    parser.epilog = (
        "prints the folder; Ctrl-C keeps what has come, and the next `pull` or `serve` goes on "
        "from there"
    )


def run(given: argparse.Namespace) -> int:
    config = build(EngineConfig, given)
    if hub_id(given.model) is None:
        if not os.path.lexists(given.model):
            raise EngineError(foreign_name(given.model))
        text = f"{given.model!r} is on this machine already: there is nothing to fetch."
        raise EngineError(text)
    print(located(config).model)
    return 0
