"""`thespis pull ORG/NAME[@REVISION]`: fetch a model into the cache, so that a later start needs no
network for it."""

import argparse
import os

from ...protocol.checkpoint.foreign import foreign_name
from ...protocol.checkpoint.hub_id import hub_id
from ...protocol.config.engine import EngineConfig
from ...protocol.errors import EngineError
from ..hub.locate import located
from .flags import build


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="ORG/NAME[@REVISION], and ORG/NAME:Q4_K_M where it has several GGUF files",
    )
    parser.add_argument(
        "--revision", metavar="TEXT", help="branch, tag or commit (default: the main branch)"
    )
    parser.add_argument(
        "--download-dir",
        metavar="TEXT",
        help="cache folder (default: HF_HUB_CACHE, else HF_HOME/hub)",
    )
    parser.epilog = (
        "prints the folder; Ctrl-C keeps what has come, and the next `pull` or `serve` goes on "
        "from there"
    )


def run(given: argparse.Namespace) -> int:
    config = build(EngineConfig, given)
    if hub_id(given.model) is None:
        here = os.path.lexists(given.model)
        text = (
            f"{given.model!r} is on this machine already: there is nothing to fetch."
            if here
            else foreign_name(given.model)
        )
        raise EngineError(text)
    print(located(config).model)
    return 0
