"""One replica: a whole engine, and the server of all its APIs over it, on a socket that only this
process connects to."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

import msgspec
from aiohttp import ClientResponse, ClientSession, ClientTimeout, UnixConnector, hdrs, web
from multidict import CIMultiDict
from yarl import URL

from ...protocol.config.engine import EngineConfig
from ...protocol.config.server import ServerConfig
from ...protocol.errors import EngineError
from ..client.client import Client
from ..engine import EngineHandle, find_engine, start_engine
from ..hub.locate import located
from ..openai.answers.carried import CARRIED, Carried, SoFar
from ..openai.app import make_app
from ..openai.batches.inner import Handler
from ..openai.over_client import config_over
from .edge import (
    END,
    HOP_BY_HOP,
    LOST,
    AnswerHead,
    AnswerPiece,
    CallHead,
    asked_of,
    encode,
    so_far_of,
)

log = logging.getLogger(__name__)

HEADER = "X-Thespis-Carried"
"""Names the call to the server; nobody else's is heard."""
SOCKET = "replica.sock"
MOST_HELD = 64 << 20
"""Bytes of an answer that is kept until it is complete."""
NO_WAIT = ClientTimeout(total=None)
END_SECONDS = 10.0
"""For the engine's end. Ray gives a replica that it lets go twice as long."""


class ReplicaConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    engine: EngineConfig
    server: ServerConfig


class ServedReplica:
    """Of a service, wherever Ray has put it. Belongs to its loop."""

    def __init__(self, config: ReplicaConfig, name: str) -> None:
        """`name`: as the service calls it."""
        self._config, self._name = config, name
        self._calls: dict[str, Carried] = {}
        self._engine: EngineHandle | None = None
        self._client: Client | None = None
        self._runner: web.AppRunner | None = None
        self._session: ClientSession | None = None

    async def start(self) -> None:
        """Raises EngineError where the engine cannot start."""
        engine = await asyncio.to_thread(located, self._config.engine)
        self._config = msgspec.structs.replace(self._config, engine=engine)
        self._engine = await asyncio.to_thread(start_engine, engine)
        try:
            await self.join(self._engine.run_dir, self._engine.run_dir / SOCKET)
        except BaseException:
            await self.close()
            raise

    async def join(self, run_dir: Path, socket: Path) -> None:
        """Over an engine that runs, and that is its owner's to end."""
        self._client = await Client.connect(find_engine(run_dir))
        config = config_over(self._client, self._config.engine, self._config.server)
        app = make_app(self._client, config)
        app.middlewares.append(self._note_call)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0
        )
        await self._runner.setup()
        path = str(socket)
        await web.UnixSite(self._runner, path).start()
        self._session = ClientSession(
            connector=UnixConnector(path, limit=0), timeout=NO_WAIT, auto_decompress=False
        )

    async def close(self) -> None:
        """End the engine, and with it what is under way. Idempotent."""
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._client is not None:
            await self._client.close()
        if self._engine is not None:
            await asyncio.to_thread(self._engine.terminate, END_SECONDS)

    def end(self) -> None:
        """End the engine, from any thread; `close` does the rest. Idempotent."""
        if self._engine is not None:
            self._engine.terminate(END_SECONDS)

    def check(self) -> None:
        """Raises EngineError where the engine is gone for good: what it replaces by itself is no
        reason for another one."""
        if self._client is None or self._client.gone:
            raise EngineError("The engine has ended.")

    def load(self) -> dict[str, float]:
        """What this replica's requests hold now."""
        return {} if self._client is None else self._client.counters()

    async def call(
        self, asked: bytes, body: bytes, so_far: bytes
    ) -> AsyncGenerator[AnswerPiece, None]:
        """The answer to one call, or, behind what its caller has of it already, the rest. To leave
        the loop early ends it in the engine."""
        told, token = asked_of(asked), secrets.token_hex(12)
        carried = self._calls[token] = Carried(so_far_of(so_far))
        try:
            async with self._asking(told, body, token) as response:
                head = self._head(response)
                yield "head", encode(head), b""
                async with contextlib.aclosing(pieces(response, carried)) as read:
                    async for piece in read:
                        yield piece
        finally:
            del self._calls[token]

    def _asking(
        self, told: CallHead, body: bytes, token: str
    ) -> contextlib.AbstractAsyncContextManager[ClientResponse]:
        assert self._session is not None
        headers = CIMultiDict(passed_on(told.headers))
        headers[HEADER] = token
        return self._session.request(
            told.method,
            URL(f"http://replica{told.target}", encoded=True),
            headers=headers,
            data=body or None,
            allow_redirects=False,
            skip_auto_headers=(hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT),
        )

    def _head(self, response: ClientResponse) -> AnswerHead:
        size = response.content_length
        whole = size is not None and size <= MOST_HELD
        headers = passed_on((name, value) for name, value in response.headers.items())
        return AnswerHead(response.status, headers, self._name, whole)

    @web.middleware
    async def _note_call(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        carried = self._calls.get(request.headers.get(HEADER, ""))
        if carried is not None:
            request[CARRIED] = carried
        return await handler(request)


def passed_on(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those that are not of the connection alone, as plain texts."""
    own = HOP_BY_HOP | {HEADER.lower(), "content-length"}
    return [(str(name), value) for name, value in headers if name.lower() not in own]


async def pieces(response: ClientResponse, carried: Carried) -> AsyncGenerator[AnswerPiece, None]:
    """The body, each piece with what it adds to what its caller has: never the one without the
    other."""
    waiting, given, marked = bytearray(), 0, False
    async for chunk in response.content.iter_any():
        marked = marked or bool(carried.marks)
        if not marked:
            yield "piece", b"", chunk
            continue
        waiting += chunk
        news: list[SoFar] = []
        size = 0
        while carried.marks and carried.marks[0].end <= given + len(waiting):
            mark = carried.marks.popleft()
            size, news = mark.end - given, [*news, mark.news]
        if news:
            piece = bytes(waiting[:size])
            del waiting[:size]
            given += size
            yield "piece", encode(news), piece
    yield LOST if carried.lost else END
