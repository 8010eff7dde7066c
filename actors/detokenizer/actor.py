"""The detokenizer's shell: tokens from the scheduler, text to the clients."""

from typing import Any

import msgspec

from ...protocol.config.roles import DetokenizerConfig
from ...protocol.edges.control import Gone
from ...protocol.edges.scheduler_to_detokenizer import Close, Open, Outputs, PromptLogprobs, Vectors
from ...protocol.topology import CLIENT, SCHEDULER, kind_of
from ..kernel.actor import Actor, run
from ..kernel.launch import Launch
from .sessions import Replies, Sessions
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
        match message:
            case Outputs():
                self._deliver(self.sessions.outputs(message))
            case Open() if not self.peers.departed(message.client):
                self.sessions.open(message)
            case PromptLogprobs():
                self._deliver(self.sessions.prompt_scores(message))
            case Vectors():
                self._deliver(self.sessions.vectors(message))
            case Close():
                self._deliver(self.sessions.close(message))

    def on_end(self, ids: tuple[str, ...]) -> None:
        self.sessions.end(ids)

    def on_gone(self, gone: Gone) -> None:
        if kind_of(gone.role) == CLIENT:
            self.sessions.forget_client(gone.role)
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

    def _deliver(self, outbox: Replies) -> None:
        for role, message in outbox:
            self.send(role, message)


def main(launch: Launch) -> None:
    run(Detokenizer(launch))
