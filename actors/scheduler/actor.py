"""The scheduler's shell: it hands messages to the policy, and sends what the policy says.

Order within one event: the next plans first, since the runner waits for them, then tokens, then
everything else.
"""

import asyncio
import time
from typing import Any

import msgspec

from ...protocol import topology
from ...protocol.config.roles import SchedulerConfig
from ...protocol.config.room import Room
from ...protocol.edges.client_to_scheduler import Ack, Resume
from ...protocol.edges.control import Cache, Gone, Peer
from ...protocol.edges.detokenizer_to_scheduler import Stopped
from ...protocol.edges.encoder_cache_to_scheduler import EmbeddingReady, EncodeFailed, Lost
from ...protocol.edges.gpu_runner_to_scheduler import StepResult
from ...protocol.edges.preprocessor_to_scheduler import Submit
from ...protocol.edges.scheduler_to_client import SchedulerToClient
from ...protocol.edges.scheduler_to_gpu_runner import ForgetSequences
from ...protocol.edges.view import Seen
from ...protocol.topology import DETOKENIZER, ENCODER_CACHE, GPU_RUNNER, kind_of
from ..kernel.actor import Actor, run
from ..kernel.launch import Launch
from . import view
from .scheduler import Scheduler


class SchedulerActor(Actor):
    """Sockets and the clock around `Scheduler`."""

    policy: Scheduler
    _timer: asyncio.TimerHandle | None = None
    """Of the policy's `due`."""

    async def on_start(self, config: bytes) -> dict[str, int]:
        self.policy = Scheduler(msgspec.json.decode(config, type=SchedulerConfig))
        return {}

    def on_message(self, sender: str, message: Any) -> None:
        policy, now = self.policy, time.monotonic()
        match message:
            case StepResult():
                policy.apply(message, now)
            case Submit(prepared) if not self.peers.departed(prepared.client):
                policy.submit(prepared, now)
            case EmbeddingReady():
                policy.ready(message, now)
            case Stopped():
                policy.stopped(message)
            case Lost():
                policy.lost(message)
            case EncodeFailed():
                policy.encode_failed(message)
            case Resume(prepared, choices):
                policy.submit(prepared, now, choices)
            case Ack(ids):
                policy.acknowledge(ids)
        self._go_on()

    def on_end(self, ids: tuple[str, ...]) -> None:
        self.policy.end(ids)
        self._go_on()

    def on_reset(self, cache: Cache, number: int) -> None:
        if cache == "prefix":
            self.policy.batch.forget_prefixes()

    def on_peer(self, role: str, peer: Peer) -> None:
        match role:
            case topology.GPU_RUNNER:
                self.send(GPU_RUNNER, ForgetSequences())
                self.policy.runner_joined(self.policy.config.room or Room.from_notes(peer.notes))
            case topology.DETOKENIZER:
                self.policy.telling.begin()
            case topology.ENCODER_CACHE:
                self.policy.outbox.encoder.clear()
                self.policy.encoder_joined()
        self._go_on()

    def on_gone(self, gone: Gone) -> None:
        role, now = gone.role, time.monotonic()
        # What has a successor already has been begun anew with it.
        match kind_of(role):
            case topology.GPU_RUNNER if GPU_RUNNER not in self.peers:
                self.policy.runner_lost(gone.epoch, now, gone.outside)
            case topology.ENCODER_CACHE if ENCODER_CACHE not in self.peers:
                self.policy.encoder_lost(gone.epoch, now, gone.outside)
            case topology.DETOKENIZER if DETOKENIZER not in self.peers:
                self.policy.detokenizer_lost(gone.epoch, now, gone.outside)
            case topology.CLIENT:
                self.policy.client_gone(gone.incarnation)
        self._go_on()

    def counters(self) -> dict[str, float]:
        return self.policy.counters()

    def seen(self) -> Seen:
        return view.seen(self.policy.requests.values())

    def _go_on(self) -> None:
        now = time.monotonic()
        while (plan := self.policy.schedule(now)) is not None:
            self.send(GPU_RUNNER, plan)
        self._come_back(now)
        outbox = self.policy.outbox
        for message in self.policy.telling.take():
            self.send(DETOKENIZER, message)
        for wish in outbox.encoder:
            self.send(ENCODER_CACHE, wish)
        outbox.encoder.clear()
        for excuse in outbox.director:
            self.link.send(excuse)
        outbox.director.clear()
        if outbox.clients:  # a request can come before the news of its client
            outbox.clients[:] = [
                (client, answer)
                for client, answer in outbox.clients
                if not self._answer(client, answer)
            ]

    def _come_back(self, now: float) -> None:
        """When the policy wants to be asked again."""
        if self._timer is not None:
            self._timer.cancel()
        due = self.policy.due
        loop = asyncio.get_running_loop()
        self._timer = None if due is None else loop.call_later(due - now, self._guard, self._go_on)

    def _answer(self, client: str, answer: SchedulerToClient) -> bool:
        """False: it must wait."""
        return self.peers.departed(client) or (client in self.peers and self.send(client, answer))


def main(launch: Launch) -> None:
    run(SchedulerActor(launch))
