"""Requests of this client that may be killing a process: which go there alone, which are refused.
Pure; times are parameters.

A client knows which of its requests are in the fetcher, the preprocessor and the scheduler, because
it sends them there again after a death; so it keeps the blame for these three. (The scheduler keeps
it for runner, encoder and detokenizer, the preprocessor for the decode workers.) After a second
crash with requests in hand, these go there one at a time, in turn, until each has got through; the
others wait in the ledger. A kill from outside counts against no request.
"""

from collections.abc import Callable, Iterable

from ...actors.quarantine.fingerprints import Read, fingerprint, outline
from ...actors.quarantine.records import POISON, Banned, Proof, Quarantine
from ...protocol.errors import Failure
from ...protocol.requests.request import Request

PLACES = ("fetcher", "preprocessor", "scheduler")


class Suspects:
    """`read` gives a blob's bytes; used only where a request that looks alike was refused."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._of = {role: Quarantine() for role in PLACES}
        self._company = set(PLACES)
        """Processes that may have had other clients' requests: none of ours is alone there."""
        self._alike = Banned()
        self._banned = Banned()
        self.refused = 0

    @property
    def quiet(self) -> bool:
        """Whether there is no suspect."""
        return not any(map(len, self._of.values()))

    def met(self, others: bool) -> None:
        """Note whether other clients are in the engine now."""
        if others:
            self._company.update(PLACES)

    def born(self, role: str, others: bool) -> None:
        """A new incarnation of `role`, which has no requests yet."""
        if not others:
            self._company.discard(role)

    def died(self, role: str, epoch: int, in_hand: Iterable[str], outside: bool) -> Proof | None:
        """This incarnation ended with these requests in hand. Returns the proof, if there is one,
        of which was the cause."""
        if outside or role not in PLACES:
            return None
        return self._of[role].died(epoch, in_hand, outside=False, others=role in self._company)

    def may_go(self, id: str, way: Iterable[str], wanted: Callable[[str], bool]) -> bool:
        """Whether a request may go into these processes now; into all, where it is its turn."""
        if self.quiet or all(self._of[role].first(wanted) is None for role in way):
            return True
        turn = next(
            filter(None, (quarantine.first(wanted) for quarantine in self._of.values())), None
        )
        return turn == id

    def passed(self, id: str) -> None:
        """The request is prepared: the fetcher and the preprocessor have survived it."""
        self._of["fetcher"].ended(id)
        self._of["preprocessor"].ended(id)

    def ended(self, id: str) -> None:
        for quarantine in self._of.values():
            quarantine.ended(id)

    def ban(self, request: Request, now: float) -> None:
        """Refuse this request, and whatever is the same work, from now on."""
        self.refused += 1
        self._alike.add(outline(request), now)
        self._banned.add(fingerprint(request, self._read), now)

    def refusal(self, request: Request, now: float) -> Failure | None:
        """Why this request must not be tried; None if it may."""
        if not len(self._banned) or not self._alike.holds(outline(request), now):
            return None
        return POISON if self._banned.holds(fingerprint(request, self._read), now) else None
