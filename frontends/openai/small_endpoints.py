"""The small endpoints: models, health, version, metrics, tokenize and detokenize."""

import logging
from typing import Any

from aiohttp import web

from ...protocol.errors import EngineError
from ...protocol.version import version as own_version
from .answers.writer import encode_json
from .app_state import SERVICE, Service
from .bodies.reading import DETOKENIZE, TOKENIZE
from .metrics import CONTENT_TYPE

log = logging.getLogger(__name__)


def _json(body: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=encode_json(body), status=status, content_type="application/json", headers=headers)


def _card(service: Service) -> dict[str, Any]:
    config = service.config
    return {
        "id": config.name,
        "object": "model",
        "created": service.started,
        "owned_by": "thespis",
        "max_model_len": config.max_model_len,
        "dtype": config.dtype,
    }


async def models(request: web.Request) -> web.Response:
    return _json({"object": "list", "data": [_card(request.app[SERVICE])]})


async def one_model(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    service.check_model(request.match_info["name"])
    return _json(_card(service))


async def health(request: web.Request) -> web.Response:
    """200 only while every actor is there and the server takes requests."""
    service = request.app[SERVICE]
    if service.client.ready and not service.draining:
        return _json({"status": "ready"})
    return _json({"status": "not ready"}, 503, {"Retry-After": "1"})


async def live(request: web.Request) -> web.Response:
    """200 as long as this process answers, whatever the engine does."""
    return _json({"status": "alive"})


async def version(request: web.Request) -> web.Response:
    return _json({"version": own_version()})


async def metrics(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    try:
        status = await service.client.status()
    except EngineError:
        log.warning("no counters from the engine")
        status = None
    return web.Response(body=service.metrics.text(status), headers={"Content-Type": CONTENT_TYPE})


async def tokenize(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    _, (prompt,), headers = await service.read(request, TOKENIZE)
    found = await service.client.tokenize(prompt)
    tokens = list(found.token_ids)
    answer = {"count": len(tokens), "max_model_len": service.config.max_model_len, "tokens": tokens, "prompt": found.text}
    return _json(answer, headers=headers)


async def detokenize(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    _, (text,), headers = await service.read(request, DETOKENIZE)
    return _json({"prompt": text}, headers=headers)
