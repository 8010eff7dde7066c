"""An actor without its processes around it: no director, no peers; what it sends is written
down."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import msgspec

from thespis.actors.kernel.actor import Actor, _name_the_loop
from thespis.protocol.config.roles import encode_config
from thespis.protocol.wire import Decoder, Message, encode

A = TypeVar("A", bound=Actor)


class Sent(list[tuple[str, Any]]):
    """(role, message) in the order of sending."""

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for _, message in self if isinstance(message, kind)]

    def to(self, role: str, kind: type[Any]) -> list[Any]:
        return [message for to, message in self if to == role and isinstance(message, kind)]

    async def until(self, kind: type[Any], count: int = 1) -> list[Any]:
        """The first `count` messages of a kind, when they are there."""
        with anyio.fail_after(10):
            while len(self.of(kind)) < count:
                await asyncio.sleep(0.005)
        return self.of(kind)


@asynccontextmanager
async def acting(actor: A, config: msgspec.Struct) -> AsyncIterator[Sent]:
    """Run `actor` between its start and its stop."""
    sent = Sent()

    def send(name: str, message: Message, after: int = -1) -> bool:
        sent.append((name, Decoder[Any](type(message)).decode(encode(message))))
        return True

    actor.send = send  # type: ignore[method-assign]
    _name_the_loop()
    try:
        async with anyio.create_task_group() as actor.tasks:
            try:
                await actor.on_start(encode_config(config))
                yield sent
            finally:
                actor._stopping.set()
                actor.tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await actor.on_stop()
        actor.link.close()
        actor.context.term()
