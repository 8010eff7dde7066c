"""What this client does when a process of its engine dies: what that had goes on or is answered,
and a request that has been shown to end processes is refused, with all that is the same work."""

import time

from ...actors.quarantine.fingerprints import outline
from ...protocol.edges.client_to_encoder_cache import Pin, Unpin
from ...protocol.edges.client_to_preprocessor import Tokenize
from ...protocol.edges.control import Excuse
from ...protocol.errors import RequestError
from ...protocol.requests.request import Request
from .connection import Connection
from .delivery import Delivery
from .dispatcher import Dispatcher
from .ledger import Ledger, needs_fetch
from .questions import RESTARTED, Questions
from .suspects import Suspects


class Deaths:
    """Belongs to the loop, like all that it is made of."""

    def __init__(
        self,
        connection: Connection,
        ledger: Ledger,
        suspects: Suspects,
        delivery: Delivery,
        questions: Questions,
        dispatcher: Dispatcher,
    ) -> None:
        self._connection, self._ledger, self._suspects = connection, ledger, suspects
        self._delivery, self._questions, self._dispatcher = delivery, questions, dispatcher

    def check(self, request: Request) -> None:
        """Raises RequestError for work that has been shown to end processes."""
        refused = self._suspects.refusal(request, time.monotonic())
        if refused is not None:
            raise RequestError(refused)

    def gone(self, role: str, epoch: int, outside: bool) -> None:
        """This incarnation is dead; `outside`: it was killed from outside."""
        asked = self._questions.tokenizing if role == "preprocessor" else []
        # Questions have no entry in the ledger: they are repeated by their callers, and known again
        # by what they ask.
        names = {f"tokenize {outline(request)}": request for request in asked}
        proof = self._delivery.take_up(role, epoch, outside, names)
        self._suspects.born(role, self._connection.others)
        if proof is not None:
            self._connection.link.send(Excuse(role, proof.epochs))
            entry = self._ledger.live(proof.name)
            self._refuse_alike(names[proof.name] if entry is None else entry.request)
        if role == "preprocessor":
            # What it was asked is lost with it; the callers may ask again.
            self._questions.on_all(Tokenize, RequestError(RESTARTED))
            self._dispatcher.end_leases(self._ledger.all())
        elif role == "encoder-cache":
            for question in (Pin, Unpin):
                self._questions.on_all(question, RequestError(RESTARTED))
        elif role == "fetcher":
            # For requests that are over, no other process will say that the media are free.
            self._dispatcher.end_leases(
                [entry for entry in self._ledger.all() if entry.over and needs_fetch(entry.request)]
            )

    def _refuse_alike(self, request: Request) -> None:
        """Refuse this request and every other that is the same work."""
        self._suspects.ban(request, time.monotonic())
        for entry in self._ledger.live_ones():
            refused = self._suspects.refusal(entry.request, time.monotonic())
            if refused is not None:
                self._dispatcher.end(entry, refused)
