"""The configuration of an HTTP server that is no role of its engine, but stands on a client."""

import msgspec

from ...protocol.chat_templates.source import chat_template_of
from ...protocol.checkpoint.folder import inspect
from ...protocol.config.engine import EngineConfig
from ...protocol.config.roles import ClientConfig, HttpConfig
from ...protocol.config.server import ServerConfig
from ..client.client import Client


def config_over(client: Client, engine: EngineConfig, server: ServerConfig) -> HttpConfig:
    """As that of a server of this engine."""
    template = chat_template_of(inspect(engine.model), engine.chat_template)
    return HttpConfig(
        client=ClientConfig(
            model=client.model,
            name=client.model_name,
            max_model_len=client.max_model_len,
            seed=engine.seed,
        ),
        dtype=client.model.dtype,
        server=server,
        engine=msgspec.structs.replace(engine, chat_template=template),
    )
