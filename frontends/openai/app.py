"""The aiohttp application: paths, and the one middleware, which lets in and answers errors."""

import secrets
import time

from aiohttp import hdrs, web

from ...protocol.config.roles import HttpConfig
from ..client.client import Client
from . import access
from .access import ABORTED, LEFT, TOLD, Told
from .anthropic.handler import count_tokens, messages
from .app_state import APP_STATE, TENANT, AppState
from .batches.handler import cancel_batch, create_batch, list_batches, one_batch
from .batches.inner import Handler
from .batches.running import BATCHES, Batches
from .blame import Blame
from .bodies.reading import OWN_ID_HEADER, sane_id
from .bodies.receiving import BODY_WANTED, expect, expect_nothing
from .chat.handler import chat_completions
from .completions.handler import completions
from .dialects import OPENAI, Dialect, dialect_of
from .embeddings.handler import embeddings
from .errors import NO_KEY, RETRY_AFTER_SECONDS, SERVER, Refusal, error_response, failure_of
from .files.handler import (
    delete_file,
    file_content,
    list_files,
    one_file,
    pin_file,
    unpin_file,
    upload_file,
)
from .gate.auth import OPEN_PATHS, WATCHED_PATHS
from .gate.connections import HttpConnection
from .gate.head import UNEXPECTED_BODY, body_fault, framing_fault, says_something
from .gate.origins import preflight
from .live.handler import PAGES, add_live_view
from .ollama.handler import (
    ollama_change,
    ollama_chat,
    ollama_embed,
    ollama_embeddings,
    ollama_generate,
    ollama_heartbeat,
    ollama_ps,
    ollama_show,
    ollama_tags,
    ollama_version,
)
from .responses.handler import count_input, create_response
from .responses.kept import keep_responses
from .responses.stored import cancel_response, delete_response, input_items, one_response
from .scoring.handler import rerank, score
from .small_endpoints import (
    detokenize,
    health,
    live,
    load,
    media_preview,
    metrics,
    models,
    one_model,
    server_info,
    timeline,
    tokenize,
    version,
)
from .transcriptions.handler import transcriptions, translations
from .unknown_path import methods_of, no_path

BODIES: dict[str, Handler] = {
    "/v1/chat/completions": chat_completions,
    "/v1/completions": completions,
    "/v1/embeddings": embeddings,
    "/v1/rerank": rerank,
    "/v2/rerank": rerank,
    "/rerank": rerank,
    "/v1/score": score,
    "/score": score,
    "/v1/messages": messages,
    "/v1/messages/count_tokens": count_tokens,
    "/v1/batches": create_batch,
    "/v1/responses": create_response,
    "/v1/responses/input_tokens": count_input,
    "/v1/media/preview": media_preview,
    "/tokenize": tokenize,
    "/detokenize": detokenize,
    "/api/chat": ollama_chat,
    "/api/generate": ollama_generate,
    "/api/embed": ollama_embed,
    "/api/embeddings": ollama_embeddings,
    "/api/show": ollama_show,
}
"""Paths that take a body, of which is counted how their requests end."""
QUESTIONS: dict[str, Handler] = {
    "/v1/models": models,
    "/v1/models/{name:.+}": one_model,
    "/v1/requests/{id:.+}/timeline": timeline,
    "/health": health,
    "/live": live,
    "/ping": health,
    "/load": load,
    "/version": version,
    "/server_info": server_info,
    "/metrics": metrics,
    "/api/tags": ollama_tags,
    "/api/ps": ollama_ps,
    "/api/version": ollama_version,
}
CHANGES = (
    ("POST", "/api/pull"),
    ("POST", "/api/push"),
    ("POST", "/api/create"),
    ("POST", "/api/copy"),
    ("POST", "/api/blobs/{digest}"),
    ("DELETE", "/api/delete"),
)
"""Of Ollama's models: they are known here, and refused."""
DIALECT: web.RequestKey[Dialect] = web.RequestKey("dialect", Dialect)
_MANY = (
    *("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"),
    *("/v1/rerank", "/v1/score"),
)
BATCHED: dict[str, Handler] = {path: BODIES[path] for path in _MANY}
"""Of which requests may come in batches."""
FORMS: dict[str, Handler] = {
    "/v1/files": upload_file,
    "/v1/audio/transcriptions": transcriptions,
    "/v1/audio/translations": translations,
}
"""Paths that take a form with a file."""
MORE: tuple[tuple[str, str, Handler], ...] = (
    (hdrs.METH_GET, "/v1/files", list_files),
    (hdrs.METH_GET, "/v1/files/{id}", one_file),
    (hdrs.METH_GET, "/v1/files/{id}/content", file_content),
    (hdrs.METH_DELETE, "/v1/files/{id}", delete_file),
    (hdrs.METH_POST, "/v1/files/{id}/pin", pin_file),
    (hdrs.METH_DELETE, "/v1/files/{id}/pin", unpin_file),
    (hdrs.METH_GET, "/v1/batches", list_batches),
    (hdrs.METH_GET, "/v1/batches/{id}", one_batch),
    (hdrs.METH_POST, "/v1/batches/{id}/cancel", cancel_batch),
    (hdrs.METH_GET, "/v1/responses/{id}", one_response),
    (hdrs.METH_GET, "/v1/responses/{id}/input_items", input_items),
    (hdrs.METH_POST, "/v1/responses/{id}/cancel", cancel_response),
    (hdrs.METH_DELETE, "/v1/responses/{id}", delete_response),
)
"""Other methods and paths, none with a body."""
BODILESS = frozenset(handler for _, _, handler in MORE)
THERE_IS = (
    f"POST {', '.join((*BODIES, *FORMS))}, and GET "
    f"{', '.join(path for path in QUESTIONS if '{' not in path)}"
)
METHODS = methods_of(
    (
        *((hdrs.METH_POST, path) for path in (*BODIES, *FORMS)),
        *((hdrs.METH_GET, path) for path in QUESTIONS),
        *((method, path) for method, path, _ in MORE),
    )
)
"""By path."""


def make_app(client: Client, config: HttpConfig, blame: Blame | None = None) -> web.Application:
    """The server over `client`. Bodies have limits of our own. `blame`: None without successors."""
    app = web.Application(middlewares=[_door], client_max_size=0)
    app[APP_STATE] = state = AppState(client, config, blame or Blame.alone())
    app.on_response_prepare.append(_sign)
    app[BATCHES] = batches = Batches(app, BATCHED)
    app.on_startup.extend((state.open, batches.open))
    app.on_cleanup.extend((batches.close, state.close))
    bodiless = (
        *((hdrs.METH_GET, path, handler) for path, handler in QUESTIONS.items()),
        *((method, path, ollama_change) for method, path in CHANGES),
        *MORE,
    )
    for root in dict.fromkeys(("", config.server.root_path)):  # a proxy may strip it, or not
        app.add_routes(
            web.post(root + path, handler, expect_handler=expect)
            for path, handler in BODIES.items()
        )
        app.add_routes(
            web.post(root + path, handler, expect_handler=expect) for path, handler in FORMS.items()
        )
        app.add_routes(
            web.route(method, root + path, handler, expect_handler=expect_nothing)
            for method, path, handler in bodiless
        )
        app.add_routes(state.playground.routes(root))
        if "/" not in state.playground.open_paths:
            app.add_routes([web.get(f"{root}/", ollama_heartbeat)])
    if config.server.live_view:
        add_live_view(app, client, config, state.keys)
    keep_responses(app)
    return app


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    """What stands in the head of every answer: who we are, which pages may read it, and the
    caller's own name for it."""
    state = request.app[APP_STATE]
    response.headers[hdrs.SERVER] = SERVER
    response.headers.update(state.origins.consent(_origin(request)))
    if (id := sane_id(request.headers.get(OWN_ID_HEADER))) is not None:
        response.headers.setdefault(OWN_ID_HEADER, id)
    if request.get(DIALECT, OPENAI).anthropic:
        response.headers["request-id"] = response.headers.get(OWN_ID_HEADER) or _id_of(request)
    if state.draining or _turned_away(request) is not None:
        response.force_close()
        response.headers[hdrs.CONNECTION] = "close"


@web.middleware
async def _door(request: web.Request, handler: Handler) -> web.StreamResponse:
    state, began = request.app[APP_STATE], time.monotonic()
    request[TOLD] = told = Told(sane_id(request.headers.get(OWN_ID_HEADER)))
    status, path = LEFT, state.path_of(request)
    request[DIALECT] = dialect_of(path, request.headers)
    try:
        response = await _answer(request, handler, state)
        status = LEFT if told.left else response.status
    finally:
        if told.running:
            if status == LEFT:
                told.reasons.append(ABORTED)
            state.metrics.over(told)
        if state.config.server.access_log:
            probe = path in OPEN_PATHS | WATCHED_PATHS or _is_open(path, state)
            access.write(request, told, status, time.monotonic() - began, probe)
    if request.method == hdrs.METH_POST and (path in BODIES or path in FORMS):
        state.metrics.answered(path, response.status, time.monotonic() - began)
        if (
            response.status in RETRY_AFTER_SECONDS
            and BODY_WANTED not in request
            and not response.prepared
        ):
            await _write_refusal(request, response, state)
    return response


async def _write_refusal(
    request: web.Request, response: web.StreamResponse, state: AppState
) -> None:
    """Here rather than by aiohttp, so that the time it took is known."""
    await response.prepare(request)
    await response.write_eof()
    if isinstance(request.protocol, HttpConnection):
        state.metrics.refusal.observe(time.perf_counter() - request.protocol.heard)


async def _answer(request: web.Request, handler: Handler, state: AppState) -> web.StreamResponse:
    if (fault := framing_fault(request.version, request.headers)) is not None:
        response = _refused(request, fault)
        response.force_close()  # where the next request begins is not known
        return response
    if (fault := _not_let_in(request, state)) is not None:
        return _refused(request, fault)
    if request.method == hdrs.METH_OPTIONS and (methods := _methods(request)):
        headers = {hdrs.ALLOW: ", ".join(methods), **preflight(request.headers, methods)}
        return web.Response(status=204, headers=headers)
    try:
        return await handler(request)
    except ConnectionError as error:
        if request.transport is None or request.transport.is_closing():
            raise  # nobody is there to be answered
        return _refused(request, failure_of(error))
    except web.HTTPNotFound:
        failure = no_path(state.path_of(request), METHODS, THERE_IS)
        return _refused(request, Refusal(failure, 404))
    except Exception as error:
        return _refused(request, failure_of(error))
    finally:
        state.forget(request)


def _refused(request: web.Request, refusal: Refusal) -> web.Response:
    request[TOLD].error = refusal.failure.code or refusal.failure.kind
    dialect = request[DIALECT]
    return error_response(
        *refusal, form=dialect.form, id=_id_of(request) if dialect.anthropic else ""
    )


def _id_of(request: web.Request) -> str:
    """A refusal of some APIs has an id, too."""
    told = request[TOLD]
    told.id = told.id or f"req_{secrets.token_hex(12)}"
    return told.id


def _not_let_in(request: web.Request, state: AppState) -> Refusal | None:
    """The first reason, cheapest first, not to hear this caller; else its tenant is noted."""
    headers = request.headers
    origin, host = _origin(request), headers.get(hdrs.HOST)
    own = bool(state.playground.open_paths) and state.hosts.is_own_page(origin, host)
    fault = state.hosts.fault(host) or (
        None if own else state.origins.fault(request.method, origin)
    )
    path = state.path_of(request)
    if fault is not None or _is_open(path, state) or _asks_for_a_page(request):
        request[TENANT] = ""
        return fault
    tenant = state.keys.tenant(request[DIALECT].credentials(headers))
    if tenant is None:
        return NO_KEY
    request[TENANT] = tenant
    if (fault := _turned_away(request)) is not None:
        return fault
    takes_body = request.method == hdrs.METH_POST and request.match_info.http_exception is None
    if request.match_info.handler in BODILESS:
        return UNEXPECTED_BODY if says_something(headers) else None
    return body_fault(headers, path in FORMS) if takes_body else None


def _is_open(path: str, state: AppState) -> bool:
    """Whether no key is asked for there."""
    return path in state.open_paths or (state.config.server.live_view and path in PAGES)


def _origin(request: web.Request) -> str | None:
    """Of the page that calls; two origins are none that could be allowed."""
    origins = request.headers.getall(hdrs.ORIGIN, None)
    return None if origins is None else ", ".join(origins)


def _asks_for_a_page(request: web.Request) -> bool:
    """A preflight: a browser sends it without the key that the page itself will send."""
    asks = hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    return asks and request.method == hdrs.METH_OPTIONS


def _methods(request: web.Request) -> list[str]:
    """Of this path; none where there is no such path."""
    missed = request.match_info.http_exception
    return sorted(missed.allowed_methods) if isinstance(missed, web.HTTPMethodNotAllowed) else []


def _turned_away(request: web.Request) -> Refusal | None:
    return request.protocol.refusal if isinstance(request.protocol, HttpConnection) else None
