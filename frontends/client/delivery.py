"""Sends the ledger's requests into the pipeline, and again when a process has died with some."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from ...actors.quarantine.records import Proof
from ...protocol.edges.client_to_fetcher import Fetch, Withdraw
from ...protocol.edges.client_to_preprocessor import ClientToPreprocessor, Prepare
from ...protocol.edges.client_to_scheduler import Resume
from ...protocol.errors import refuse
from ...protocol.requests.prepared import Prepared
from ...protocol.requests.request import Request
from ...protocol.wire import encode
from ..validation import wrong_field
from .connection import Connection
from .ledger import MAX_LOST, Ledger, LedgerEntry, needs_fetch
from .suspects import Suspects

READ_BACK = 1 << 14
"""Bytes of a message that are read back to see whether its reader takes them. Of longer ones what
they stand for is looked at, which takes long for a short one: but a long text beyond ASCII takes
its reader 50 ms."""
_reader = msgspec.msgpack.Decoder(ClientToPreprocessor)
UNSPELLED = (bytes, bytearray, memoryview, datetime)
"""What a message holds in forms of its own: a reader that expects text refuses it."""


def check_sendable(request: Request) -> None:
    """Raises RequestError if a Python caller has given a value that a message cannot hold, or that
    its reader would refuse (and end because of). Called before anything is reserved for the
    request.
    """
    message = Prepare(request)
    try:
        if len(body := encode(message)) <= READ_BACK:
            _reader.decode(body)
        else:
            values = msgspec.to_builtins(message, builtin_types=UNSPELLED)
            msgspec.convert(values, ClientToPreprocessor)
    except msgspec.ValidationError as error:
        raise wrong_field(str(error), within="request.") from None
    except (
        TypeError, ValueError, OverflowError, RecursionError, BufferError, msgspec.DecodeError
    ):  # fmt: skip
        text = (
            "It has a value that cannot be sent: text that is not Unicode, a number beyond 64 "
            "bits, or an unknown object."
        )
        raise refuse("invalid_request", text) from None


class Delivery:
    """Sends entries from the beginning, or from what was delivered. What cannot be sent now is due
    when its receiver comes."""

    def __init__(self, connection: Connection, ledger: Ledger, suspects: Suspects) -> None:
        self._connection = connection
        self._ledger = ledger
        self._suspects = suspects
        self._submitted: set[str] = set()
        """Requests that the preprocessor has given to the scheduler that runs now, in this attempt
        or an earlier one."""

    def start(self, entry: LedgerEntry) -> None:
        """Send it from the beginning, now or as soon as it may go."""
        way = ("fetcher", "preprocessor") if needs_fetch(entry.request) else ("preprocessor",)
        if not self._may_go(entry, *way):
            entry.due, entry.leased = "send", False
            return
        if not entry.request.attempt and not self._may_go(entry, "scheduler"):
            # The preprocessor hands a first attempt on to the scheduler without asking.
            entry.again("send")
        request = entry.request
        if needs_fetch(request):
            entry.leased = self._connection.send(
                "fetcher", Fetch(request, self._connection.dead("preprocessor"))
            )
        else:
            entry.leased = self._connection.send("preprocessor", Prepare(request))
        entry.due = None if entry.leased else "send"

    def do_due(self) -> None:
        """A process has become ready, or a suspect has got through: send what waited for that."""
        for entry in self._ledger.live_ones():
            if entry.due == "send":
                self.start(entry)
            elif entry.due == "resume":
                self._resume(entry)

    def _may_go(self, entry: LedgerEntry, *way: str) -> bool:
        return self._suspects.may_go(
            entry.request.id, way, lambda id: self._ledger.live(id) is not None
        )

    def passed(self, id: str, submitted_to: int) -> None:
        """An attempt of this request, perhaps an earlier one, has been prepared."""
        if submitted_to > self._connection.dead("scheduler") and self._ledger.live(id) is not None:
            self._submitted.add(id)
        if not self._suspects.quiet:
            self._suspects.passed(id)
            self.do_due()

    def ended(self, id: str) -> None:
        """The request is over, and no suspect any more."""
        self._submitted.discard(id)
        if not self._suspects.quiet:
            self._suspects.ended(id)
            self.do_due()

    def prepared(self, entry: LedgerEntry, prepared: Prepared, submitted_to: int) -> bool:
        """Note the prepared prompt. Returns False if it differs from that of an earlier attempt:
        the media have changed."""
        before = entry.stream.prepared
        if before is not None and (before.token_ids, before.items) != (
            prepared.token_ids,
            prepared.items,
        ):
            return False
        entry.stream.prepared, entry.awaited = prepared, False
        if entry.elsewhere:  # the scheduler has it from its beginning: that attempt is void
            entry.elsewhere = False
            self.resume_anew(entry)
        elif submitted_to <= self._connection.dead("scheduler"):
            self._resume(entry)
        return True

    def resume_anew(self, entry: LedgerEntry) -> None:
        """A delta is missing, or was never sent here: continue behind what was delivered."""
        entry.again("resume")
        self._resume(entry)

    def media_lost(self, entry: LedgerEntry) -> bool:
        """An embedding was lost: make its features again. False if that has happened too often."""
        entry.lost += 1
        if entry.lost > MAX_LOST:
            return False
        entry.again("send")
        self.start(entry)
        return True

    def take_up(self, role: str, epoch: int, outside: bool, besides: Iterable[str]) -> Proof | None:
        """What a dead process had continues when its successor is there and the quarantine lets it.
        Returns the proof, if there is one, of which request was the cause.

        `besides`: work of this client that it had and that is not in the ledger.
        """
        caught = list(self._ledger.caught_by(role))
        in_hand = [
            entry.request.id
            for entry in caught
            if not entry.due and (role == "scheduler" or entry.awaited)
        ]
        if role == "scheduler":
            in_hand, self._submitted = list(dict.fromkeys([*in_hand, *self._submitted])), set()
        proof = self._suspects.died(role, epoch, [*in_hand, *besides], outside)
        for entry in caught:
            if role == "preprocessor" and not self._suspects.quiet and needs_fetch(entry.request):
                self._connection.send("fetcher", Withdraw(entry.request.id, entry.request.attempt))
            self._go_on(entry)
        return proof

    def take_up_all(self) -> None:
        """Messages of unknown requests are missing: all continue under a new attempt."""
        for entry in self._ledger.live_ones():
            self._go_on(entry)
        self.do_due()

    def _go_on(self, entry: LedgerEntry) -> None:
        entry.again("send" if entry.awaited else "resume")

    def _resume(self, entry: LedgerEntry) -> None:
        """Send what the ledger has: the prepared prompt and the tokens that were delivered."""
        if not self._may_go(entry, "scheduler"):
            entry.due = "resume"
            return
        prepared = entry.stream.prepared
        assert prepared is not None
        message = Resume(
            msgspec.structs.replace(prepared, attempt=entry.request.attempt), entry.so_far()
        )
        entry.due = None if self._connection.send("scheduler", message) else "resume"
