"""The aiohttp application: paths, and one middleware that checks keys and turns exceptions into answers."""

import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from ...protocol.roles import HttpConfig
from ..client import Client
from .auth import OPEN_PATHS
from .bodies import BODY_WANTED, expect
from .connections import HttpConnection
from .errors import RETRY_AFTER_SECONDS, SERVER, crowded, error_response, failure_of, unauthorized
from .handlers import chat_completions, completions
from .service import SERVICE, TENANT, Service
from .utility import detokenize, health, live, metrics, models, one_model, tokenize, version

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
METRICS_PATHS = ("/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize")


def make_app(client: Client, config: HttpConfig) -> web.Application:
    """The OpenAI-compatible server over `client`. Bodies have limits of our own, so aiohttp's is off."""
    app = web.Application(middlewares=[_door], client_max_size=0)
    app[SERVICE] = Service(client, config)
    app.add_routes(
        [
            web.post("/v1/chat/completions", chat_completions, expect_handler=expect),
            web.post("/v1/completions", completions, expect_handler=expect),
            web.get("/v1/models", models),
            web.get("/v1/models/{name:.+}", one_model),
            web.post("/tokenize", tokenize, expect_handler=expect),
            web.post("/detokenize", detokenize, expect_handler=expect),
            web.get("/health", health),
            web.get("/live", live),
            web.get("/version", version),
            web.get("/metrics", metrics),
        ]
    )
    return app


@web.middleware
async def _door(request: web.Request, handler: Handler) -> web.StreamResponse:
    service = request.app[SERVICE]
    response = await _answer(request, handler, service)
    if not response.prepared:
        response.headers["Server"] = SERVER
    if request.path in METRICS_PATHS:
        service.metrics.requests.labels(request.path, str(response.status)).inc()
        if response.status in RETRY_AFTER_SECONDS and BODY_WANTED not in request and not response.prepared:
            await _write_refusal(request, response, service)
    return response


async def _write_refusal(request: web.Request, response: web.StreamResponse, service: Service) -> None:
    """Here rather than by aiohttp, so that the time it took is known."""
    await response.prepare(request)
    await response.write_eof()
    if isinstance(request.protocol, HttpConnection):
        service.metrics.refusal.observe(time.perf_counter() - request.protocol.heard)


async def _answer(request: web.Request, handler: Handler, service: Service) -> web.StreamResponse:
    tenant = "" if request.path in OPEN_PATHS else service.keys.tenant(request.headers.get("Authorization"))
    if tenant is None:
        return unauthorized()
    request[TENANT] = tenant
    if isinstance(request.protocol, HttpConnection) and request.protocol.crowded and request.path not in OPEN_PATHS:
        return crowded()
    try:
        return await handler(request)
    except Exception as error:
        return error_response(*failure_of(error))
