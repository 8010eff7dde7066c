"""What a client asks beside its requests: of the preprocessor the tokens of a prompt, of the
encoder-cache that an item stay on disk, of the director the engine's state, and that a cache be
emptied."""

import asyncio
import itertools
import secrets
import time
from typing import Any

from ...protocol.edges.client_to_encoder_cache import Pin, Unpin
from ...protocol.edges.client_to_preprocessor import Tokenize
from ...protocol.edges.control import AskLive, AskReset, AskStatus, Cache, Live, Status
from ...protocol.edges.preprocessor_to_client import Tokenized
from ...protocol.errors import Failure, RequestError
from ...protocol.requests.request import Prompt, Request
from ...protocol.requests.sampling import SamplingParams
from ...protocol.wire import Message
from .connection import Connection

RESTARTED = Failure(
    "restarted",
    "A part of the engine was restarted while it worked on this request; send it again.",
    code="restarted",
)


class Questions:
    """Those that are not answered. Each asker gets EngineError where no answer comes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: dict[str | int, tuple[Message, asyncio.Future[Any]]] = {}
        """By a request's id; what the director was asked by a number."""
        self._numbers = itertools.count(1)

    @property
    def tokenizing(self) -> list[Request]:
        """What the preprocessor has in hand."""
        return [asked.request for asked, _ in self._open.values() if isinstance(asked, Tokenize)]

    def request(self, prompt: Prompt) -> Request:
        """For `tokenize`: a prompt in the form in which the preprocessor reads it."""
        return Request(
            id=secrets.token_hex(12),
            client=self._connection.name,
            arrival=time.monotonic(),
            prompt=prompt,
            sampling=SamplingParams(seed=0, max_tokens=1),
        )

    async def tokenize(self, request: Request) -> Tokenized:
        """Raises RequestError."""
        question = Tokenize(request)
        if not self._connection.send("preprocessor", question):
            raise RequestError(RESTARTED)
        tokenized: Tokenized = await self._answer(request.id, question)
        return tokenized

    async def pin(self, tenant: str, owner: str, name: str, expires: float | None) -> None:
        """Raises RequestError."""
        id = secrets.token_hex(12)
        await self._of_cache(Pin(id, self._connection.name, tenant, owner, name, expires))

    async def unpin(self, owner: str) -> None:
        """Raises RequestError."""
        await self._of_cache(Unpin(secrets.token_hex(12), self._connection.name, owner))

    async def _of_cache(self, question: Pin | Unpin) -> None:
        if not self._connection.send("encoder-cache", question):
            raise RequestError(RESTARTED)
        failure = await self._answer(question.id, question)
        if failure is not None:
            raise RequestError(failure)

    async def status(self) -> Status:
        question = AskStatus()
        self._connection.link.send(question)
        status: Status = await self._answer(next(self._numbers), question)
        return status

    async def live(self) -> Live:
        question = AskLive(next(self._numbers))
        self._connection.link.send(question)
        live: Live = await self._answer(question.number, question)
        return live

    async def reset(self, cache: Cache) -> bool:
        """Whether all have confirmed it."""
        question = AskReset(next(self._numbers), cache)
        self._connection.link.send(question)
        return bool(await self._answer(question.number, question))

    async def _answer(self, key: str | int, question: Message) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._open[key] = question, future
        try:
            async with self._connection.answering():
                return await future
        finally:
            del self._open[key]

    def on_answer(self, key: str | int, answer: Any) -> None:
        """An exception is raised to the asker. What nobody waits for is dropped."""
        _, future = self._open.get(key, (None, None))
        if future is None or future.done():
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def on_all(self, kind: type[Message], answer: Any) -> None:
        """The same to all that have asked this kind of question."""
        for key, (question, _) in self._open.items():
            if isinstance(question, kind):
                self.on_answer(key, answer)
