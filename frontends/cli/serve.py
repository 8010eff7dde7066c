"""`thespis serve [MODEL]`: the engine and its HTTP server, until a signal."""

import argparse
import sys

from ...protocol.config.engine import EngineConfig
from ...protocol.config.server import ServerConfig
from ...protocol.config.server_keys import with_keys
from .flags import add_flags, add_model, build
from .server import serve_until_stopped, serving


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "thespis serve [MODEL] [flags]"
    add_model(parser)
    add_flags(parser.add_argument_group("server"), ServerConfig)
    add_flags(parser.add_argument_group("engine"), EngineConfig, skip=("model",))
    parser.epilog = (
        "example: thespis serve ./Qwen2-VL --port 9000 --api-key $KEY --limit-mm-per-prompt "
        "'{\"image\": 4}'"
    )


def run(given: argparse.Namespace) -> int:
    engine, server = build(EngineConfig, given), with_keys(build(ServerConfig, given))
    if not server.api_key and not server.on_loopback:
        print(
            "thespis serve: no API key: everybody who can reach this address may use the engine",
            file=sys.stderr,
        )
    try:
        with serving(engine, server, inherit_log=True) as running:
            return serve_until_stopped(
                running,
                f"{engine.name} is served at {running.url}/v1 (run directory {running.run_dir})",
            )
    except KeyboardInterrupt:
        return 130
