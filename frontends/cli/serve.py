"""`thespis serve [MODEL]`: the engine and its HTTP server, until a signal."""

import argparse
import sys
from typing import Any

from ...protocol.config.engine import EngineConfig
from ...protocol.config.replicas import ReplicasConfig
from ...protocol.config.server import ServerConfig
from ...protocol.config.server_keys import with_keys
from ...protocol.config.server_tls import with_tls
from .flags import add_flags, add_model
from .server import serve_until_stopped, serving
from .settling import CONFIG, settle

EPILOG = """\
Every flag is also a variable, THESPIS_MAX_MODEL_LEN for --max-model-len, and a line of the file of
--config, `max-model-len: 512`. A flag goes before its variable, that before the file, and that
before the default.

example: thespis serve ./Qwen2-VL --port 9000 --api-key-file keys --served-model-name qwen
"""


class _Once(argparse.Action):
    """A flag of which a second one would make argparse forget the first."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        if getattr(namespace, self.dest) is not None:
            raise argparse.ArgumentError(self, "it is one file, and is given once")
        setattr(namespace, self.dest, values)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "thespis serve [MODEL] [flags]"
    add_model(parser)
    words = "YAML file of settings, a line `name: value` each; flags and variables go before it"
    parser.add_argument(f"--{CONFIG}", metavar="FILE", help=words, action=_Once)
    add_flags(parser.add_argument_group("replicas"), ReplicasConfig)
    add_flags(parser.add_argument_group("server"), ServerConfig)
    add_flags(parser.add_argument_group("engine"), EngineConfig, skip=("model",))
    parser.epilog = EPILOG


def run(given: argparse.Namespace) -> int:
    engine, server, replicas, remarks = settle(vars(given))
    server = with_tls(with_keys(server))
    if not server.api_key and not server.on_loopback:
        remarks.append("no API key: everybody who can reach this address may use the engine")
    for remark in remarks:
        print(f"thespis serve: {remark}", file=sys.stderr)
    if replicas.wanted:
        from ..ray.local import serve_replicas

        return serve_replicas(engine, server, replicas)
    try:
        with serving(engine, server, inherit_log=True) as running:
            return serve_until_stopped(
                running,
                f"{engine.name} is served at {running.url}/v1 (run directory {running.run_dir})"
                + (f"\nto try it in a browser: {running.url}/" if server.playground else ""),
            )
    except KeyboardInterrupt:
        return 130
