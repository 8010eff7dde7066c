"""A small client of the OpenAI API, for the commands: aiohttp and msgspec, no SDK."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import aiohttp
import msgspec
import yarl

from ...protocol.errors import EngineError


class Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class ChunkChoice(msgspec.Struct):
    index: int = 0
    delta: Delta | None = None
    text: str | None = None
    token_ids: list[int] | None = None
    finish_reason: str | None = None

    @property
    def words(self) -> str:
        """In a chat's chunk and a completion's alike."""
        return (self.delta.content if self.delta is not None else self.text) or ""

    @property
    def thought(self) -> str:
        """What the model thinks before it answers, by either name that servers have for it."""
        delta = self.delta
        return (delta.reasoning_content or delta.reasoning or "") if delta is not None else ""


class PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None


class Stage(msgspec.Struct):
    """One entry of `timings`; seconds after the arrival."""

    stage: str
    start: float
    end: float
    detail: str = ""


class Error(msgspec.Struct):
    message: str = ""
    code: Any = None
    """A stranger's may be anything."""


class Chunk(msgspec.Struct):
    choices: list[ChunkChoice] = []
    usage: Usage | None = None
    timings: list[Stage] | None = None
    error: Error | None = None


class _Refusal(msgspec.Struct):
    error: Error


_decoder = msgspec.json.Decoder(Chunk)


UNKNOWN_MODEL = "model_not_found"


class ApiError(EngineError):
    """The server refused or broke off; the text is the server's, and so is the code, if any."""

    def __init__(self, text: str, code: object = None) -> None:
        super().__init__(text)
        self.code = code


class Api:
    """One server; `base_url` with or without /v1. Raises ApiError for one that is no address."""

    def __init__(self, base_url: str, api_key: str | None = None, connections: int = 64) -> None:
        self.base_url = _address(base_url).rstrip("/").removesuffix("/v1")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0),
            connector=aiohttp.TCPConnector(limit=connections),
            read_bufsize=1 << 18,
        )

    async def __aenter__(self) -> "Api":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    @asynccontextmanager
    async def _reached(
        self, path: str, body: dict[str, Any] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a GET, or to a POST of `body`. Raises ApiError."""
        url, asked = self.base_url + path, self._session
        # As a file, aiohttp sends it in pieces.
        data = BytesIO(msgspec.json.encode(body))
        try:
            async with (
                asked.get(url) if body is None else asked.post(url, data=data, headers=_JSON)
            ) as response:
                yield response
        except aiohttp.ClientConnectorError:
            text = (
                f"No server answers at {self.base_url}; start one with `thespis serve`, or give "
                f"its address by --base-url."
            )
            raise ApiError(text) from None
        except (aiohttp.ClientError, ConnectionError):
            raise ApiError(f"The connection to {self.base_url} broke.") from None
        except msgspec.DecodeError:
            raise ApiError(self._stranger()) from None

    async def model(self, wanted: str | None = None) -> str:
        """The first model that is served, or the `wanted` one. Raises ApiError where it is not
        there."""
        try:
            names = [str(model["id"]) for model in (await self.get("/v1/models"))["data"]]
            if wanted is None:
                return names[0]
        except (KeyError, IndexError, TypeError):
            raise ApiError(self._stranger()) from None
        if wanted not in names:
            text = f"{self.base_url} serves {', '.join(names)} and no model {wanted!r}."
            raise ApiError(text, UNKNOWN_MODEL)
        return wanted

    def _stranger(self) -> str:
        return (
            f"What answers at {self.base_url} does not speak OpenAI's API; give another address "
            f"by --base-url."
        )

    async def get(self, path: str) -> Any:
        async with self._reached(path) as response:
            return msgspec.json.decode(await _good(response))

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        async with self._reached(path, body) as response:
            return msgspec.json.decode(await _good(response))

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[Chunk]:
        """The events of a streamed answer. Raises ApiError for a refusal, or an error inside."""
        async with self._reached(path, {**body, "stream": True}) as response:
            if response.status != 200:
                await _good(response)
            rest = b""
            async for piece in response.content.iter_any():
                *events, rest = (rest + piece).split(b"\n\n")
                for event in events:
                    chunk = read_event(event)
                    if chunk is None:
                        return
                    if chunk.error is not None:
                        raise ApiError(chunk.error.message, chunk.error.code)
                    yield chunk
        raise ApiError("The server broke off in the middle of an answer.")


def _address(base_url: str) -> str:
    try:
        url = yarl.URL(base_url)
        if url.scheme in ("http", "https") and url.host and url.port and url.name in ("", "v1"):
            return base_url
    except ValueError:  # not even a URL
        pass
    raise ApiError(f"{base_url!r} is no server's address; it looks like http://127.0.0.1:8000/v1.")


_JSON = {"Content-Type": "application/json"}


def read_event(event: bytes) -> Chunk | None:
    """The chunk of one server-sent event; None for [DONE]."""
    data = b"".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
    if data == b"[DONE]":
        return None
    return _decoder.decode(data) if data else Chunk()


async def _good(response: aiohttp.ClientResponse) -> bytes:
    body = await response.read()
    if response.status < 400:
        return body
    try:
        error = msgspec.json.decode(body, type=_Refusal).error
    except msgspec.DecodeError:
        error = Error(f"The server answers with status {response.status}.")
    raise ApiError(error.message, error.code)
