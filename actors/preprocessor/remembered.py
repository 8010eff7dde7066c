"""Ids that come without data, and that this engine has not heard of: what they stood for before its
start is known to the encoder-cache, where it keeps anything. No sockets here."""

from asyncio import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass, field

from ...protocol.edges.encoder_cache_to_preprocessor import RecalledId
from ...protocol.edges.preprocessor_to_encoder_cache import RecallId, RememberId
from ...protocol.topology import ENCODER_CACHE
from ..jobs.identity import id_name
from .identities import Identities
from .pending_request import PendingRequest
from .recalling import RECALL_SECONDS
from .shell import Shell


@dataclass(eq=False)
class _Wait:
    """Of one request."""

    pending: PendingRequest
    ids: dict[str, str]
    """By name those that are not answered."""
    go_on: Callable[[], None]


@dataclass(eq=False)
class _Question:
    timer: TimerHandle
    waits: list[_Wait] = field(default_factory=list)


class RememberedIds:
    """Owns the questions, by name."""

    def __init__(self, hasher: str, enabled: bool, identities: Identities, shell: Shell) -> None:
        self._hasher, self._enabled = hasher, enabled
        self._identities, self._shell = identities, shell
        self._asked: dict[str, _Question] = {}

    def __len__(self) -> int:
        return len(self._asked)

    def close(self) -> None:
        for question in self._asked.values():
            question.timer.cancel()

    def find(self, pending: PendingRequest, go_on: Callable[[], None]) -> None:
        """Go on when it is known what its ids stand for, or that nobody knows."""
        request = pending.request
        wait = _Wait(pending, {}, go_on)
        for item in request.media if self._enabled else ():
            if item.uuid is None or item.source is not None:
                continue
            if self._identities.knows(request, item.uuid):
                continue
            name = id_name(self._hasher, request.tenant, item.uuid)
            if name not in wait.ids and self._ask(name, wait):
                wait.ids[name] = item.uuid
        if not wait.ids:
            go_on()

    def _ask(self, name: str, wait: _Wait) -> bool:
        """False: there is nobody to ask."""
        if name not in self._asked:
            if not self._shell.send(ENCODER_CACHE, RecallId(name)):
                return False
            timer = self._shell.later(RECALL_SECONDS, lambda: self.told(RecalledId(name, None)))
            self._asked[name] = _Question(timer)
        self._asked[name].waits.append(wait)
        return True

    def told(self, message: RecalledId) -> None:
        question = self._asked.pop(message.name, None)
        if question is None:
            return
        question.timer.cancel()
        for wait in question.waits:
            uuid, request = wait.ids.pop(message.name), wait.pending.request
            if wait.pending.over:
                continue
            if message.digest is not None and not self._identities.knows(request, uuid):
                self._identities.learn(request, uuid, message.digest)
            if not wait.ids:
                self._shell.guarded(wait.pending, wait.go_on)

    def gone(self) -> None:
        """The encoder-cache is: nobody answers."""
        for name in list(self._asked):
            self.told(RecalledId(name, None))

    def keep(self, pending: PendingRequest) -> None:
        """Its prompt is right: what its ids stand for is to be known after a restart."""
        if self._enabled:
            for uuid, digest in self._identities.bound(pending).items():
                name = id_name(self._hasher, pending.request.tenant, uuid)
                self._shell.send(ENCODER_CACHE, RememberId(name, digest))
