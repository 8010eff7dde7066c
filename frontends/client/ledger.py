"""The client's ledger: every accepted request, with all that is needed to run it again."""

import asyncio
from collections.abc import Iterator
from typing import Literal

import msgspec

from ...protocol.edges.client_to_scheduler import ChoiceSoFar
from ...protocol.edges.detokenizer_to_client import Delta, Finished, PositionLogprobs
from ...protocol.edges.scheduler_to_detokenizer import PromptLogprobs, Vectors
from ...protocol.memory.blobs import BlobRef
from ...protocol.requests.request import Request, Url
from .admission import Cost
from .stream import Stream

MAX_LOST = 10
"""How often the media of one request may be lost with a process before the request fails."""


class Progress(msgspec.Struct):
    """What has been delivered of one choice: a resume continues behind it."""

    token_ids: list[int] = []
    released: int = 0
    """Characters."""
    ended: bool = False


class Hole(Exception):
    """Tokens before these are missing: the caller must never get text with a gap in it."""


Early = Delta | PromptLogprobs[PositionLogprobs] | Vectors | Finished
"""What the detokenizer sends about a request; it can overtake the prepared prompt."""


class LedgerEntry(msgspec.Struct):
    """One request. Only the client's event loop writes to it."""

    request: Request
    stream: Stream
    cost: Cost
    blobs: tuple[BlobRef, ...]
    """In this client's arena; freed when the request is over and nothing reads them."""
    choices: list[Progress]
    leased: bool = True
    """The fetcher or the preprocessor may still read the blobs."""
    over: bool = False
    """The terminal message has come, or the caller has cancelled."""
    due: Literal["send", "resume"] | None = None
    """What must be done as soon as the process that it goes to is there."""
    awaited: bool = True
    """The prepared prompt of this attempt has not come: the fetcher or the preprocessor is working
    on it. (That of an earlier attempt may be there: after the loss of an embedding, the next
    attempt starts from the beginning.)"""
    heard: bool = False
    """Tokens of this attempt have come, so the scheduler has it."""
    expiry: asyncio.TimerHandle | None = None
    """Ends it at its deadline."""
    lost: int = 0
    """How often its media were lost with a process."""
    early: list[Early] = []
    """What has overtaken the prepared prompt of this attempt."""
    elsewhere: bool = False
    """Another engine has begun it, and nothing is known here yet but what it has given."""

    def again(self, due: Literal["send", "resume"]) -> None:
        """Begin a new attempt: every message of the old one is void."""
        request, prepared = self.request, self.stream.prepared
        era = request.era if prepared is None else prepared.era  # its media keep their keys
        self.request = msgspec.structs.replace(request, attempt=request.attempt + 1, era=era)
        self.due, self.awaited, self.heard, self.early = due, due == "send", False, []

    def take_early(self) -> list[Early]:
        """What has overtaken the prepared prompt, now that it is here."""
        taken, self.early = self.early, []
        return taken

    def accept(self, delta: Delta) -> Delta | None:
        """Note what is delivered; None if nothing of it is new. What a replay repeats is cut off,
        by position and by offset.

        Raises Hole.
        """
        progress = self.choices[delta.choice]
        skip, had = len(progress.token_ids) - delta.position, progress.released - delta.offset
        if skip < 0:
            raise Hole
        self.heard = True
        new = delta
        if skip or had > 0:
            had = max(0, had)
            new = msgspec.structs.replace(
                delta,
                token_ids=delta.token_ids[skip:],
                logprobs=delta.logprobs[skip:],
                text=delta.text[had:],
            )
        if progress.ended or not (new.token_ids or new.text or new.finish_reason):
            return None
        progress.token_ids.extend(new.token_ids)
        progress.released += len(new.text)
        progress.ended = new.finish_reason is not None
        return new

    def so_far(self) -> tuple[ChoiceSoFar, ...]:
        """What has been delivered, for a resume."""
        return tuple(ChoiceSoFar(tuple(c.token_ids), c.released, c.ended) for c in self.choices)


class Ledger:
    """Entries by id. An entry leaves when its request is over and its blobs are free."""

    def __init__(self) -> None:
        self._entries: dict[str, LedgerEntry] = {}

    def add(self, entry: LedgerEntry) -> None:
        self._entries[entry.request.id] = entry

    def live(self, id: str, attempt: int | None = None) -> LedgerEntry | None:
        """The entry, unless it is over or `attempt` is not its current one."""
        entry = self._entries.get(id)
        if (
            entry is None
            or entry.over
            or (attempt is not None and attempt != entry.request.attempt)
        ):
            return None
        return entry

    def end_lease(self, id: str, attempt: int) -> LedgerEntry | None:
        """Nothing reads the blobs of this attempt any more. Returns the entry if `attempt` is its
        current one."""
        entry = self._entries.get(id)
        if entry is None or attempt != entry.request.attempt:
            return None
        entry.leased = False
        return entry

    def sweep(self, entry: LedgerEntry) -> tuple[BlobRef, ...]:
        """Remove the entry if it is over and not leased. Returns the blobs that are free then."""
        if not entry.over or entry.leased:
            return ()
        return entry.blobs if self._entries.pop(entry.request.id, None) is not None else ()

    def caught_by(self, role: str) -> Iterator[LedgerEntry]:
        """Live requests that cannot go on after the death of `role`. What other roles lose is made
        again inside the engine."""
        for entry in self.live_ones():
            match role:
                case "fetcher" if entry.awaited and needs_fetch(entry.request):
                    yield entry
                case "preprocessor" if entry.awaited or not entry.heard:
                    yield entry  # its last messages to the scheduler may be lost
                case "scheduler" if not entry.awaited:
                    yield entry

    def all(self) -> list[LedgerEntry]:
        """With those that are over and whose media are still being read."""
        return list(self._entries.values())

    def live_ones(self) -> list[LedgerEntry]:
        """Those that are not over."""
        return [entry for entry in self._entries.values() if not entry.over]

    def __len__(self) -> int:
        return len(self.live_ones())


def needs_fetch(request: Request) -> bool:
    return any(isinstance(item.source, Url) for item in request.media)


def blobs_of(request: Request) -> tuple[BlobRef, ...]:
    """The media bytes that a request refers to."""
    return tuple(
        item.source.blob
        for item in request.media
        if item.source is not None and not isinstance(item.source, Url)
    )
