"""`thespis run`: ask the bundled model over HTTP, then keep serving. What scripts/run calls."""

import argparse
import asyncio

from ...protocol.checkpoint.folder import demo_model
from ...protocol.config.engine import EngineConfig
from ...protocol.config.server import ServerConfig
from .demo import ask_all, load_examples
from .flags import number
from .server import serve_until_stopped, serving


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--once", action="store_true", help="end after the answers; exit code 0 when all are right"
    )
    parser.add_argument(
        "--port",
        type=number(int),
        default=8000,
        metavar="N",
        help="port to listen on; 0: any free one (default: %(default)s)",
    )


def run(given: argparse.Namespace) -> int:
    examples = load_examples(demo_model() / "media")
    print("starting the engine on the bundled model ...", flush=True)
    try:
        with serving(EngineConfig(), ServerConfig(port=given.port)) as running:
            right = asyncio.run(ask_all(running.url, examples))
            if given.once:
                return 0 if right else 1
            return serve_until_stopped(
                running,
                f"\nserving at {running.url}/v1 until Ctrl-C (log: "
                f"{running.run_dir / 'engine.log'})\nto try it in a browser: {running.url}/",
            )
    except KeyboardInterrupt:
        return 130 if given.once else 0
