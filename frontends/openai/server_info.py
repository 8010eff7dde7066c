"""What a server tells of itself to whoever has its key: settings without secrets, and the model.
Pure."""

from typing import Any

import msgspec

from ...protocol.config.replicas import ReplicasConfig
from ...protocol.config.roles import HttpConfig
from ...protocol.config.settings import SETTINGS
from ...protocol.version import version

HIDDEN = frozenset({
    "api_key", "api_key_file", "ssl_certfile", "ssl_keyfile", "trace_out", "model", "download_dir",
    "allowed_local_media_path", "media_cache", "encoder_cache_dir", "chat_template", "data_folder",
})  # fmt: skip
"""Keys, and what names places on this machine: of these is told whether they are set."""


def info_of(config: HttpConfig) -> dict[str, Any]:
    told: dict[str, dict[str, Any]] = {"server": {}, "engine": {}}
    for setting in SETTINGS.values():
        if setting.schema is ReplicasConfig:
            continue  # one replica knows of none
        part = "server" if setting.schema is type(config.server) else "engine"
        value = getattr(getattr(config, part), setting.name)
        told[part][setting.name] = bool(value) if setting.name in HIDDEN else value
    model = config.client.model
    facts = {
        "name": config.client.name,
        "type": model.model_type,
        "architecture": model.architecture,
        "layers": model.layers,
        "hidden_size": model.hidden,
        "vocabulary": model.vocab,
        "context": model.context,
        "max_model_len": config.client.max_model_len,
        "stored_as": model.dtype,
        "computed_in": config.dtype,
        "modalities": sorted(model.placeholders),
        "makes": "text" if model.pooler is None else "vectors",
    }
    return {"version": version(), "model": facts, **msgspec.to_builtins(told)}
