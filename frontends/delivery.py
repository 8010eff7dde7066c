"""How requests of the ledger get into the pipeline, and in again when a process has died with a part of them."""

from typing import Literal

import msgspec

from ..protocol.edges.client_to_fetcher import Fetch
from ..protocol.edges.client_to_preprocessor import Prepare
from ..protocol.edges.client_to_scheduler import Resume
from ..protocol.prepared import Prepared
from .connection import Connection
from .ledger import MAX_LOST, Entry, Ledger, needs_fetch


class Delivery:
    """Sends entries in, from the start or from what was delivered; what cannot be sent now is due when its receiver comes."""

    def __init__(self, connection: Connection, ledger: Ledger) -> None:
        self._connection = connection
        self._ledger = ledger
        self._schedulers_gone = 0
        """The last epoch of the scheduler that is known to be dead."""

    def start(self, entry: Entry) -> None:
        """From the start."""
        request = entry.request
        first = ("fetcher", Fetch(request)) if needs_fetch(request) else ("preprocessor", Prepare(request))
        entry.leased = self._connection.send(*first)
        entry.due = None if entry.leased else "send"

    def do_due(self) -> None:
        """Somebody has come: send what waited for him."""
        for entry in self._ledger.live_ones():
            if entry.due == "send":
                self.start(entry)
            elif entry.due == "resume":
                self._resume(entry)

    def prepared(self, entry: Entry, prepared: Prepared, submitted_to: int) -> bool:
        """Note the prepared prompt. False where it differs from that of an earlier attempt: its media have changed."""
        before = entry.stream.prepared
        if before is not None and (before.token_ids, before.items) != (prepared.token_ids, prepared.items):
            return False
        entry.stream.prepared = prepared
        if submitted_to <= self._schedulers_gone:
            self._resume(entry)
        return True

    def resume_anew(self, entry: Entry) -> None:
        """A delta is missing: go on behind what was delivered."""
        self._again(entry, "resume")
        self._resume(entry)

    def media_lost(self, entry: Entry) -> bool:
        """An embedding went with a process before it was read: its features are made again. False where that is too often."""
        entry.lost += 1
        if entry.lost > MAX_LOST:
            return False
        self._again(entry, "send")
        self.start(entry)
        return True

    def take_up(self, role: str, epoch: int) -> None:
        """What a dead process had goes on when its successor is there."""
        for entry in self._ledger.caught_by(role):
            self._go_on(entry)
        if role == "scheduler":
            self._schedulers_gone = epoch

    def take_up_all(self) -> None:
        """Messages are missing, and which requests they were about is not known: every one goes on under a new attempt."""
        for entry in self._ledger.live_ones():
            self._go_on(entry)
        self.do_due()

    def _go_on(self, entry: Entry) -> None:
        self._again(entry, "resume" if entry.prepared else "send")

    def _again(self, entry: Entry, due: Literal["send", "resume"]) -> None:
        """A new attempt, which makes every message of the old one void."""
        entry.request = msgspec.structs.replace(entry.request, attempt=entry.request.attempt + 1)
        entry.early = []
        entry.due = due

    def _resume(self, entry: Entry) -> None:
        """From what the ledger has: the prepared prompt and the tokens that were delivered."""
        prepared = entry.stream.prepared
        assert prepared is not None
        message = Resume(msgspec.structs.replace(prepared, attempt=entry.request.attempt), entry.so_far())
        entry.due = None if self._connection.send("scheduler", message) else "resume"
