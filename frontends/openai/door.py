"""The HTTP door: who may come in, how large a body may be, and what an error looks like from outside."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from hmac import compare_digest

from aiohttp import web

from ...protocol.errors import STATUS, EngineError, Failure, RequestError, refuse
from ...protocol.shortage import NO_FILES, shortage
from .shape import encode_json, error_body

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SERVER = "thespis"
"""Instead of a list of what this is made of and in which versions."""
OPEN_PATHS = frozenset({"/health", "/live"})
"""Answered without a key: probes carry none."""
BODY_WANTED: web.RequestKey[bool] = web.RequestKey("body_wanted", bool)
"""Set on a request whose body is being read, or has been."""
RETRY_AFTER_SECONDS = {429: 1, 503: 2}
PATIENCE_SECONDS = 20.0
"""For the next piece of a body: one that never comes must not keep the place that it was given."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
INTERNAL = Failure("internal", "Internal error.", code="internal_error")
ENGINE_GONE = Failure("restarted", "The engine is not there at the moment; send the request again.", code="engine_dead")
NO_PATH = Failure("not_found", "There is nothing at this path.", code="unknown_path")
NO_HTTP = Failure("invalid_request", "This is no HTTP request that can be read.", code="invalid_http")
NO_METHOD = Failure("invalid_request", "This path does not take that method.", code="method_not_allowed")


def tenant_of(key: str) -> str:
    """A digest that is the same in every process and after every restart; the key itself stays here."""
    return blake2b(key.encode(), digest_size=16, person=b"thespis-tenant").hexdigest()


class Keys:
    """The keys that callers may present; an empty table lets everybody in as the one nameless tenant."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._tenants = tuple(tenant_of(key) for key in keys)

    def tenant(self, authorization: str | None) -> str | None:
        """The caller's tenant, or None for a stranger. Takes the same time whichever key it is."""
        if not self._tenants:
            return ""
        scheme, _, key = (authorization or "").partition(" ")
        given = tenant_of(key.strip())
        known = False
        for tenant in self._tenants:
            known |= compare_digest(tenant, given)
        return given if known and scheme.lower() == "bearer" else None


async def expect(request: web.Request) -> None:
    """A caller who asks before he sends his body is told to go on where it is read, after all that can refuse him."""


class Bodies:
    """Reads request bodies within two limits, of one and of all that are being held together."""

    def __init__(self, max_bytes: int, max_total: int, patience: float = PATIENCE_SECONDS) -> None:
        self._max, self._max_total, self._patience = max_bytes, max_total, patience
        self._held = 0

    async def read(self, request: web.Request) -> bytes:
        """Raises RequestError 413 before reading where Content-Length says enough, 429 where others fill the house."""
        announced = request.content_length or 0
        if announced > self._max:
            raise self._too_large()
        if self._held and self._held + announced > self._max_total:
            raise self._full()
        held = announced
        self._held += held
        request[BODY_WANTED] = True
        try:
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(CONTINUE)
                request.writer.output_size = 0  # of the answer, nothing has been sent
            chunks: list[bytes] = []
            size = 0
            while chunk := await self._more(request):
                size += len(chunk)
                if size > self._max:
                    raise self._too_large()
                if size > held:  # it announced less, or nothing: what it sends is counted as it comes
                    self._held += size - held
                    held = size
                    if self._held > self._max_total and self._held > held:
                        raise self._full()
                chunks.append(chunk)
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except web.HTTPException:
            raise
        except (OSError, ValueError) as error:  # a broken transfer or content coding
            if isinstance(error, RequestError):
                raise
            raise refuse("invalid_request", "The body could not be read.", code="invalid_body") from None
        finally:
            self._held -= held

    async def _more(self, request: web.Request) -> bytes:
        """What has come of the body since; nothing at its end."""
        try:
            async with asyncio.timeout(self._patience):
                return await request.content.readany()
        except TimeoutError:
            text = f"Nothing more of the body came for {self._patience:g} s."
            raise refuse("invalid_request", text, code="body_timeout") from None

    def _full(self) -> RequestError:
        return refuse("overloaded", "The server reads as much as it can hold; try again later.", code="overloaded")

    def _too_large(self) -> RequestError:
        return refuse("too_large", f"The body is larger than {self._max >> 20} MiB.", code="body_too_large")


def failure_of(error: Exception) -> tuple[Failure, int]:
    """What the caller is told, and the status. Anything unforeseen is logged here and told in no detail."""
    match error:
        case RequestError(failure=failure):
            return failure, STATUS[failure.kind]
        case EngineError() | TimeoutError():
            log.warning("the engine did not answer: %s", error)
            return ENGINE_GONE, 503
        case web.HTTPNotFound():
            return NO_PATH, 404
        case web.HTTPMethodNotAllowed():
            return NO_METHOD, 405
        case web.HTTPException():
            return Failure("invalid_request", "The request is not valid.", code="invalid_request"), error.status
    if (short := shortage(error)) is not None:
        return short, STATUS[short.kind]
    log.error("a request failed", exc_info=error)
    return INTERNAL, 500


def error_response(failure: Failure, status: int) -> web.Response:
    headers = {"Retry-After": str(math.ceil(RETRY_AFTER_SECONDS[status]))} if status in RETRY_AFTER_SECONDS else {}
    return web.Response(body=encode_json(error_body(failure)), status=status, content_type="application/json", headers=headers)


def no_request(status: int) -> web.Response:
    """To bytes that are no HTTP request, and to what went wrong outside of every handler."""
    response = error_response(INTERNAL, 500) if status >= 500 else error_response(NO_HTTP, 400)
    response.headers["Server"] = SERVER
    response.force_close()
    return response


def crowded() -> web.Response:
    """To a caller for whom there is hardly a file left."""
    response = error_response(NO_FILES, STATUS[NO_FILES.kind])
    response.force_close()
    return response


def unauthorized() -> web.Response:
    body = error_body(Failure("invalid_request", "The API key is missing or wrong.", code="invalid_api_key"))
    body["error"]["type"] = "authentication_error"
    return web.Response(
        body=encode_json(body), status=401, content_type="application/json", headers={"WWW-Authenticate": "Bearer"}
    )
