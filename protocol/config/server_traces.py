"""What a server shows to the collector of its spans, and to nobody else."""

import os
from collections.abc import Mapping

import msgspec

from .environment import OTLP_HEADERS
from .server import ServerConfig


def with_otlp_headers(
    server: ServerConfig, environ: Mapping[str, str] | None = None
) -> ServerConfig:
    """`server` with the headers that OpenTelemetry's own variables name, where it sends spans: its
    process alone gets them. Idempotent."""
    if server.otlp_endpoint is None or server.otlp_headers:
        return server
    table = os.environ if environ is None else environ
    headers = next((table[name] for name in OTLP_HEADERS if table.get(name)), "")
    return msgspec.structs.replace(server, otlp_headers=headers)
