"""Questions to the director: the engine's state, and that a cache be emptied."""

import asyncio
import itertools
from typing import Any

from ...protocol.edges.control import AskReset, AskStatus, Cache, Status
from ...protocol.errors import EngineError
from .connection import Connection


class Questions:
    """Those that one client has asked and that are not answered."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._statuses: list[asyncio.Future[Status]] = []
        self._resets: dict[int, asyncio.Future[bool]] = {}
        """By number."""
        self._numbers = itertools.count(1)

    async def status(self) -> Status:
        """Raises EngineError where no answer comes."""
        future: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        self._statuses.append(future)
        self._connection.ask(AskStatus(self._connection.role))
        async with self._connection.answering():
            return await future

    async def reset(self, cache: Cache) -> bool:
        """Whether all have confirmed it. Raises EngineError where no answer comes."""
        number = next(self._numbers)
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._resets[number] = future
        self._connection.ask(AskReset(self._connection.role, number, cache))
        try:
            async with self._connection.answering():
                return await future
        finally:
            del self._resets[number]

    def on_status(self, status: Status) -> None:
        waiting, self._statuses = self._statuses, []
        for future in waiting:
            if not future.done():
                future.set_result(status)

    def on_reset(self, number: int, done: bool) -> None:
        if (asked := self._resets.get(number)) is not None and not asked.done():
            asked.set_result(done)

    def fail(self, error: EngineError) -> None:
        """Nobody will answer any more."""
        waiting: list[asyncio.Future[Any]] = [*self._statuses, *self._resets.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
        self._statuses = []
