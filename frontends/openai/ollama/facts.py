"""What is served, in Ollama's words. Pure."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from ....protocol.config.roles import HttpConfig
from ..bodies.reading import TAG

SPOKEN = "0.13.0"
"""The version of Ollama whose paths these are: plug-ins ask for a least one."""
FOREVER = "2318-01-01T00:00:00Z"
"""When the model is unloaded, which it is not."""


def tagged(name: str) -> str:
    """As Ollama lists it."""
    return name if ":" in name else name + TAG


def moment(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def details(config: HttpConfig) -> dict[str, Any]:
    model = config.client.model
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": model.model_type,
        "families": [model.model_type],
        "parameter_size": "",
        "quantization_level": config.engine.quantization or config.dtype,
    }


def card(config: HttpConfig, started: float) -> dict[str, Any]:
    """Of the list of models. How large it is nobody has counted."""
    name = tagged(config.client.name)
    return {
        "name": name,
        "model": name,
        "modified_at": moment(started),
        "size": 0,
        "digest": digest(config),
        "details": details(config),
    }


def running(config: HttpConfig) -> dict[str, Any]:
    """Of the list of what is loaded."""
    listed = card(config, time.time())
    del listed["modified_at"]
    context = config.client.max_model_len
    return {**listed, "expires_at": FOREVER, "size_vram": 0, "context_length": context}


def digest(config: HttpConfig) -> str:
    return sha256(config.client.model.fingerprint.encode()).hexdigest()


def capabilities(config: HttpConfig, thinks: bool) -> list[str]:
    """What a caller may ask of it. Functions are offered where the template writes them."""
    model = config.client.model
    if model.output != "token":
        return ["embedding"]
    found = ["completion"]
    if "image" in model.placeholders:
        found.append("vision")
    if "audio" in model.placeholders:
        found.append("audio")
    if config.engine.chat_template is None or "tools" in config.engine.chat_template:
        found.append("tools")
    if thinks:
        found.append("thinking")
    return found


def shown(config: HttpConfig, started: float, thinks: bool) -> Mapping[str, Any]:
    """All of it; `thinks`: its thinking is told apart. The template and the files stay here."""
    model, kind = config.client.model, config.client.model.model_type
    return {
        "license": "",
        "modelfile": f"FROM {config.client.name}",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": details(config),
        "model_info": {
            "general.architecture": kind,
            "general.basename": config.client.name,
            f"{kind}.block_count": model.layers,
            f"{kind}.context_length": config.client.max_model_len,
            f"{kind}.embedding_length": model.hidden,
            f"{kind}.vocab_size": model.vocab,
        },
        "capabilities": capabilities(config, thinks),
        "modified_at": moment(started),
    }
