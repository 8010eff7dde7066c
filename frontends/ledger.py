"""The client's ledger: every accepted request until its end, with all that is needed to run it again."""

from collections.abc import Iterator

import msgspec

from ..protocol.blobs import BlobRef
from ..protocol.request import Embeds, Encoded, Frames, Pixels, Request, Samples, Url
from .admission import Cost
from .stream import Stream

MAX_ATTEMPTS = 3


class Entry(msgspec.Struct):
    """One request. Only the client's loop writes it."""

    request: Request
    stream: Stream
    cost: Cost
    blobs: tuple[BlobRef, ...]
    """In this client's arena; free when the request is over and nobody reads them."""
    leased: bool = True
    """The fetcher or the preprocessor may still read the blobs."""
    over: bool = False
    """The terminal message has come, or the caller has cancelled."""

    @property
    def prepared(self) -> bool:
        return self.stream.prepared is not None


class Ledger:
    """Entries by id. An entry leaves when it is over and its blobs are free."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add(self, entry: Entry) -> None:
        self._entries[entry.request.id] = entry

    def live(self, id: str, attempt: int | None = None) -> Entry | None:
        """The entry, unless it is over or `attempt` is not its current one."""
        entry = self._entries.get(id)
        if entry is None or entry.over or (attempt is not None and attempt != entry.request.attempt):
            return None
        return entry

    def end_lease(self, id: str, attempt: int) -> Entry | None:
        """Nobody reads the blobs of this attempt any more."""
        entry = self._entries.get(id)
        if entry is None or attempt != entry.request.attempt:
            return None
        entry.leased = False
        return entry

    def sweep(self, entry: Entry) -> tuple[BlobRef, ...]:
        """Blobs that are free now that this entry is over and not leased; () while it is not."""
        if not entry.over or entry.leased:
            return ()
        return entry.blobs if self._entries.pop(entry.request.id, None) is not None else ()

    def caught_by(self, role: str) -> list[Entry]:
        """Live requests that lose state with a dead `role`. What lives elsewhere is recomputed by its owner."""
        match role:
            case "fetcher":
                return [e for e in self._live() if not e.prepared and needs_fetch(e.request)]
            case "preprocessor":
                return [e for e in self._live() if not e.prepared]
            case "scheduler" | "detokenizer":
                return [e for e in self._live() if e.prepared]
            case _:
                return []

    def all(self) -> list[Entry]:
        return list(self._entries.values())

    def _live(self) -> Iterator[Entry]:
        return (entry for entry in self._entries.values() if not entry.over)

    def __len__(self) -> int:
        return sum(1 for _ in self._live())


def needs_fetch(request: Request) -> bool:
    return any(isinstance(item.source, Url) for item in request.media)


def blobs_of(request: Request) -> tuple[BlobRef, ...]:
    """The media bytes that a request refers to."""
    holders = Encoded | Pixels | Frames | Samples | Embeds
    return tuple(item.source.blob for item in request.media if isinstance(item.source, holders))
