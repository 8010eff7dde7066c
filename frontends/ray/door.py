"""The door of the service: takes each call, asks a replica that suits it, and gives its answer."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import msgspec
from aiohttp import hdrs
from multidict import CIMultiDict

from ...protocol.errors import STATUS, Failure, RequestError
from ..openai.answers.writer import DONE
from ..openai.dialects import dialect_of
from ..openai.errors import ENGINE_GONE, RETRY_AFTER_SECONDS, error_body, error_event
from ..openai.gate.auth import Keys
from .bodies import HeldBodies, HeldBody
from .edge import AnswerHead, AnswerPiece, CallHead, encode
from .keys import AT_ONCE, LikeKeys, keys_of
from .relay import Refused, Relay

log = logging.getLogger(__name__)

FULL = Failure(
    "overloaded",
    "All replicas have as many requests as they take; send it again in a moment.",
    code="too_many_requests",
)
ONCE = ("/v1/files", "/v1/batches")
"""Paths of which a second call would do more than the first."""
REPLICA = "X-Thespis-Replica"
"""Names who has answered."""


class DoorConfig(msgspec.Struct, frozen=True):
    max_body: int
    """Bytes."""
    salt: str
    """All doors of a service make the same keys with it."""
    root_path: str = ""
    api_key: tuple[str, ...] = ()


def repeats(method: str, path: str) -> bool:
    """Whether to ask twice does no more than to ask once."""
    return method in ("GET", "HEAD", "OPTIONS") or (method == "POST" and not path.startswith(ONCE))


def refused(failure: Failure, path: str, headers: Any) -> tuple[int, bytes]:
    """Status and body, in the form of the API that the caller speaks."""
    status = STATUS[failure.kind]
    id = f"req_{secrets.token_hex(12)}"
    status, told = dialect_of(path, headers).form(failure, status, id)
    return status, msgspec.json.encode(told)


def broken_off(failure: Failure, content_type: str) -> bytes:
    """What ends a stream in its middle."""
    if content_type.startswith("text/event-stream"):
        return error_event(failure) + DONE
    return msgspec.json.encode({"error": error_body(failure)["error"]["message"]}) + b"\n"


class RayDoor:
    """As Serve knows it: the deployment that its proxies send every call to."""

    def __init__(self, engines: Any, config: bytes) -> None:
        from ray.exceptions import RayError
        from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

        self._engines = engines.options(stream=True)
        self._config = msgspec.json.decode(config, type=DoorConfig)
        self._keys = Keys(self._config.api_key)
        self._bodies = HeldBodies(self._config.max_body)
        self._lost: tuple[type[Exception], ...] = (RayError,)
        self._full: type[Exception] = BackPressureError
        self._away: type[Exception] = DeploymentUnavailableError

    async def __call__(self, request: Any) -> Any:
        """`request`: Starlette's, as Serve makes it."""
        from starlette.responses import Response

        path, headers = self._path(request), headers_of(request)
        try:
            body = await self._body(request, path, headers)
            head, pieces = await (await self._relay(request, path, headers, body)).answer()
        except RequestError as error:
            status, told = refused(error.failure, path, headers)
            answered = {"content-type": "application/json"}
            if status in RETRY_AFTER_SECONDS:
                answered["retry-after"] = str(RETRY_AFTER_SECONDS[status])
            return Response(told, status, answered)
        if head.whole:
            content = b"".join([piece async for piece in pieces])
            return _with_head(Response(content, head.status), head, len(content))
        return self._stream(head, pieces)

    def _stream(self, head: AnswerHead, pieces: AsyncIterator[bytes]) -> Any:
        from starlette.responses import StreamingResponse

        kind = next((value for name, value in head.headers if name.lower() == "content-type"), "")

        async def to_the_end() -> AsyncIterator[bytes]:
            try:
                async for piece in pieces:
                    if piece:
                        yield piece
            except RequestError as error:
                yield broken_off(error.failure, kind)

        return _with_head(StreamingResponse(to_the_end(), head.status), head, None)

    def _path(self, request: Any) -> str:
        path, root = str(request.url.path), self._config.root_path
        return path[len(root) :] if root and path.startswith(f"{root}/") else path

    async def _body(self, request: Any, path: str, headers: CIMultiDict[str]) -> HeldBody:
        """Raises RequestError for one that is not taken. Of who has no key nothing is read: a
        replica says so."""
        if self._keys.tenant(dialect_of(path, headers).credentials(headers)) is None:
            return HeldBody(self._bodies, 0)
        told = headers.get(hdrs.CONTENT_LENGTH, "")
        return await self._bodies.receive(request, int(told) if told.isdecimal() else 0)

    async def _likes(self, headers: CIMultiDict[str], body: bytes) -> LikeKeys:
        if len(body) <= AT_ONCE:
            return keys_of(headers, body, self._config.salt)
        return await asyncio.to_thread(keys_of, headers, body, self._config.salt)

    async def _relay(
        self, request: Any, path: str, headers: CIMultiDict[str], body: HeldBody
    ) -> Relay:
        keys = await self._likes(headers, body.data)
        url = request.url
        target = url.path + (f"?{url.query}" if url.query else "")
        told = [(str(name), value) for name, value in headers.items()]
        asked = encode(CallHead(request.method, target, told))

        async def send(so_far: bytes, avoid: Sequence[str]) -> AsyncGenerator[AnswerPiece, None]:
            answer = self._engines.call.remote(
                asked, body.data, so_far, keys=(keys.own, keys.shared), avoid=tuple(avoid)
            )
            try:
                async for piece in answer:
                    yield piece
            except self._full:
                if so_far:  # a stream that has begun waits for its turn
                    raise Refused from None
                raise RequestError(FULL) from None
            except self._away:
                raise RequestError(ENGINE_GONE) from None
            finally:
                with contextlib.suppress(Exception):
                    answer.cancel()

        return Relay(send, repeats(request.method, path), self._lost)


def headers_of(request: Any) -> CIMultiDict[str]:
    return CIMultiDict(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw
    )


def _with_head(response: Any, head: AnswerHead, size: int | None) -> Any:
    """With the replica's headers, each as often as it came."""
    raw = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in head.headers
    ]
    raw.append((REPLICA.lower().encode(), head.replica.encode()))
    if size is not None:
        raw.append((b"content-length", str(size).encode()))
    response.raw_headers = raw
    return response
