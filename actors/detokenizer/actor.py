"""The detokenizer's shell: tokens from the scheduler, text to the clients."""

from typing import Any

import msgspec

from ...protocol.config.roles import DetokenizerConfig
from ...protocol.edges.control import Gone
from ...protocol.edges.scheduler_to_detokenizer import Open
from ...protocol.topology import CLIENT, SCHEDULER, kind_of
from ..kernel.actor import Actor, run
from ..kernel.launch import Launch
from .sessions import Sessions
from .vocabulary import load


class Detokenizer(Actor):
    sessions: Sessions

    async def on_start(self, config: bytes) -> dict[str, int]:
        settings = msgspec.json.decode(config, type=DetokenizerConfig)
        self.sessions = Sessions(
            load(settings.model.path, settings.model.tokenizer_parts), settings.model.eos_token_ids
        )
        return {}

    def on_message(self, sender: str, message: Any) -> None:
        if isinstance(message, Open) and self.peers.departed(message.client):
            return
        for role, reply in self.sessions.handle(message):
            self.send(role, reply)

    def on_end(self, ids: tuple[str, ...]) -> None:
        self.sessions.end(ids)

    def on_gone(self, gone: Gone) -> None:
        if kind_of(gone.role) == CLIENT:
            self.sessions.forget_client(gone.incarnation)
        elif gone.role == SCHEDULER:
            self.sessions.forget_all()

    def counters(self) -> dict[str, float]:
        sessions = self.sessions
        return {
            "open_requests": len(sessions),
            "tokens": sessions.tokens,
            "stopped": sessions.stopped,
            "finished": sessions.finished,
            "failed": sessions.failed,
            "orphans": sessions.orphans,
        }


def main(launch: Launch) -> None:
    run(Detokenizer(launch))
