"""Requests of this client that a process may be dying of: who goes there alone, who is refused. Pure; times are parameters.

A client knows what it has in the fetcher, the preprocessor and the scheduler, because it sends it there again after a death;
so it keeps the blame for these three. (The scheduler keeps it for runner, encoder and detokenizer, the preprocessor for the
decode workers.) After a second crash with requests in hand these go there one at a time, in turn, until each has got through;
the others wait in the ledger. A kill from outside is held against nobody.
"""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

import msgspec

from ..actors.quarantine import POISON, Banned, Proof, Quarantine
from ..protocol.blobs import BlobRef, Bytes
from ..protocol.errors import Failure
from ..protocol.request import MediaItem, Request, Url

PLACES = ("fetcher", "preprocessor", "scheduler")
Read = Callable[[BlobRef], Bytes]


class Suspects:
    """`read` gives the bytes of a request's media; they are only read where something like it was refused before."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._of = {role: Quarantine() for role in PLACES}
        self._company = set(PLACES)
        """Processes in which other clients' requests may be or may have been: nobody of ours is alone there."""
        self._alike = Banned()
        self._banned = Banned()
        self.refused = 0

    @property
    def quiet(self) -> bool:
        return not any(map(len, self._of.values()))

    def met(self, others: bool) -> None:
        """Whether other clients are in the engine now."""
        if others:
            self._company.update(PLACES)

    def born(self, role: str, others: bool) -> None:
        """A new incarnation, which has nothing of anybody's yet."""
        if not others:
            self._company.discard(role)

    def died(self, role: str, epoch: int, in_hand: Iterable[str], outside: bool) -> Proof | None:
        """This incarnation ended with these in hand; returns what is now proved to be the cause."""
        if outside or role not in PLACES:
            return None
        return self._of[role].died(epoch, in_hand, outside=False, others=role in self._company)

    def may_go(self, id: str, way: Iterable[str], wanted: Callable[[str], bool]) -> bool:
        """Whether a request may go into these processes now. Whose turn it is goes anywhere."""
        if self.quiet or all(self._of[role].first(wanted) is None for role in way):
            return True
        turn = next(filter(None, (quarantine.first(wanted) for quarantine in self._of.values())), None)
        return turn == id

    def passed(self, id: str) -> None:
        """It is prepared: fetcher and preprocessor have survived it."""
        self._of["fetcher"].ended(id)
        self._of["preprocessor"].ended(id)

    def ended(self, id: str) -> None:
        for quarantine in self._of.values():
            quarantine.ended(id)

    def ban(self, request: Request, now: float) -> None:
        self.refused += 1
        self._alike.add(outline(request), now)
        self._banned.add(fingerprint(request, self._read), now)

    def refusal(self, request: Request, now: float) -> Failure | None:
        """Why this request is not tried."""
        if not len(self._banned) or not self._alike.holds(outline(request), now):
            return None
        return POISON if self._banned.holds(fingerprint(request, self._read), now) else None


def outline(request: Request) -> str:
    """What two requests have in common that are the same work, but for the bytes of their media."""
    return _digest(_work(request)).hexdigest()


def fingerprint(request: Request, read: Read) -> str:
    """What makes two requests the same work, whoever sends them. The seed is not part of it: it is drawn anew for each."""
    digest = _digest(_work(request))
    for item in request.media:
        if item.source is not None and not isinstance(item.source, Url):
            digest.update(read(item.source.blob))
    return digest.hexdigest()


def _work(request: Request) -> Any:
    sampling = msgspec.structs.replace(request.sampling, seed=0)
    media = [_described(item) for item in request.media]
    return request.prompt, media, sampling, request.mm_processor_kwargs, request.media_io_kwargs


def _described(item: MediaItem) -> Any:
    source = item.source
    if source is None or isinstance(source, Url):
        return item.modality, item.uuid, source
    blob = BlobRef("", 0, source.blob.dtype, source.blob.shape)
    return item.modality, item.uuid, msgspec.structs.replace(source, blob=blob)


def _digest(work: Any) -> "blake2b":
    return blake2b(msgspec.msgpack.encode(work, order="deterministic"), digest_size=32)
