"""Every body that a Thespis server answers to this process, searched for what no caller is told.

`recorded()` lays itself into the three clients that the suite uses: http.client (and urllib),
aiohttp, and httpx (and the SDKs upon it). A response counts when its `Server` says that it is ours.
The fixture in tests/conftest.py asks after every test, so that the test which provoked a leak is
the one that fails.
"""

import http.client
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import aiohttp
import aiohttp.client_proto
import httpx

ROOT = Path(__file__).resolve().parents[2]
_HERE = "|".join(
    re.escape(str(path))
    for path in (ROOT, Path.home(), tempfile.gettempdir(), sys.prefix)
    if str(path) != "/"
)
_ANYWHERE = (
    rf"(?:{_HERE})/|/(?:tmp|etc|root|home|usr|var|proc|dev/shm)/|site-packages|\w\.py\b"
    r"|Traceback|File \"[^\"]*\", line|\bat 0x[0-9a-f]|<[\w.]+ "
    r"object|<(?:class|function|module|bound method|coroutine) "
)
LEAKS = re.compile(_ANYWHERE, re.IGNORECASE)
"""Paths, tracebacks, memory addresses, reprs: in no body at all."""
_ERRORS = _ANYWHERE + r"|/(?:tmp|etc|root|home)\b|Error\(|errno|aiohttp"
IN_ERRORS = re.compile(_ERRORS, re.IGNORECASE)
"""These, and exceptions: in no error."""
SECRETS = re.compile(_ERRORS + r"|\b\d{1,3}(\.\d{1,3}){3}\b|::", re.IGNORECASE)
"""These, and network addresses: in no error, but where the caller or the operator has written one
as a host's name."""
SERVER = "thespis"
KEPT = 4 << 20
"""Bytes kept of one body."""


def secret_in(status: int, body: bytes) -> str | None:
    """The first piece of it that a caller must not be told, with its surroundings."""
    text = body.decode("utf-8", "replace")
    errors = [text] if status >= 400 else re.findall(r"^event: error\n.*$", text, re.MULTILINE)
    found = next(
        (hit for error in errors if (hit := IN_ERRORS.search(error))), None
    ) or LEAKS.search(text)
    return None if found is None else found.string[max(0, found.start() - 60) : found.end() + 60]


class Answer:
    """One response, as far as it has been read."""

    def __init__(self, holder: object) -> None:
        self.holder = holder
        """Kept alive, so that its id stays its own."""
        self.status = 0
        self.ours = False
        self.url = ""
        self.body = bytearray()

    def head(self, status: int, headers: Mapping[str, str], url: object) -> None:
        self.status, self.ours, self.url = status, headers.get("Server") == SERVER, str(url)

    def note(self, data: bytes) -> None:
        self.body += data[: KEPT - len(self.body)]


class Answers:
    """Since the last look."""

    def __init__(self) -> None:
        self._seen: dict[int, Answer] = {}

    def of(self, holder: object) -> Answer:
        return self._seen.setdefault(id(holder), Answer(holder))

    def look(self) -> tuple[int, list[str]]:
        """How many answers of ours there were, and what was told in them that must not be."""
        seen, self._seen = list(self._seen.values()), {}
        ours = [answer for answer in seen if answer.ours]
        told = [
            (answer, secret)
            for answer in ours
            if (secret := secret_in(answer.status, bytes(answer.body)))
        ]
        return len(ours), [
            f"{answer.url} ({answer.status}): ...{secret}..." for answer, secret in told
        ]


@contextmanager
def recorded() -> Iterator[Answers]:
    answers = Answers()
    patches = (_http_client(answers), *_aiohttp(answers), *_httpx(answers))
    for patch in patches:
        patch.start()
    try:
        yield answers
    finally:
        for patch in patches:
            patch.stop()


def _http_client(answers: Answers) -> Any:
    def noting(read: Callable[..., bytes]) -> Callable[..., bytes]:
        def wrapped(self: http.client.HTTPResponse, *args: Any) -> bytes:
            data = read(self, *args)
            answer = answers.of(self)
            answer.head(self.status, self.headers, "http.client")  # type: ignore[arg-type]
            answer.note(data)
            return data

        return wrapped

    response = http.client.HTTPResponse
    return mock.patch.multiple(
        response, read=noting(response.read), readline=noting(response.readline)
    )


def _aiohttp(answers: Answers) -> tuple[Any, Any]:
    start, feed_data = aiohttp.ClientResponse.start, aiohttp.StreamReader.feed_data

    async def starting(self: aiohttp.ClientResponse, connection: Any) -> aiohttp.ClientResponse:
        response = await start(self, connection)
        answers.of(self.content).head(self.status, self.headers, self.url)
        return response

    def feeding(self: aiohttp.StreamReader, data: bytes, *args: Any) -> Any:
        if isinstance(
            self._protocol, aiohttp.client_proto.ResponseHandler
        ):  # else: a request, at the server's end
            answers.of(self).note(bytes(data))
        return feed_data(self, data, *args)

    return (
        mock.patch.object(aiohttp.ClientResponse, "start", starting),
        mock.patch.object(aiohttp.StreamReader, "feed_data", feeding),
    )


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, stream: Any, answer: Answer) -> None:
        self._stream, self._answer = stream, answer

    def __iter__(self) -> Iterator[bytes]:
        for data in self._stream:
            self._answer.note(data)
            yield data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._stream:
            self._answer.note(data)
            yield data

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _httpx(answers: Answers) -> tuple[Any, Any]:
    handle, handle_async = (
        httpx.HTTPTransport.handle_request,
        httpx.AsyncHTTPTransport.handle_async_request,
    )

    def noted(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        answer = answers.of(response)
        answer.head(response.status_code, response.headers, request.url)
        response.stream = _Body(response.stream, answer)
        return response

    def handling(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        return noted(request, handle(self, request))

    async def handling_async(
        self: httpx.AsyncHTTPTransport, request: httpx.Request
    ) -> httpx.Response:
        return noted(request, await handle_async(self, request))

    return (
        mock.patch.object(httpx.HTTPTransport, "handle_request", handling),
        mock.patch.object(httpx.AsyncHTTPTransport, "handle_async_request", handling_async),
    )
