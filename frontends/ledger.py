"""The client's ledger: every accepted request until its end, with all that is needed to run it again."""

from collections.abc import Iterator
from typing import Literal

import msgspec

from ..protocol.blobs import BlobRef
from ..protocol.edges.client_to_scheduler import ChoiceSoFar
from ..protocol.edges.detokenizer_to_client import Delta, Finished, PromptText
from ..protocol.request import Request, Url
from .admission import Cost
from .stream import Stream

MAX_LOST = 10
"""Times that the media of one request may go with a process before it is given back to the caller."""


class Progress(msgspec.Struct):
    """What has been delivered of one choice: a resume starts behind it."""

    token_ids: list[int] = []
    released: int = 0
    """Characters."""
    ended: bool = False


Early = Delta | PromptText | Finished
"""What a detokenizer tells of a request."""


class Entry(msgspec.Struct):
    """One request. Only the client's loop writes it."""

    request: Request
    stream: Stream
    cost: Cost
    blobs: tuple[BlobRef, ...]
    """In this client's arena; free when the request is over and nobody reads them."""
    choices: list[Progress]
    leased: bool = True
    """The fetcher or the preprocessor may still read the blobs."""
    over: bool = False
    """The terminal message has come, or the caller has cancelled."""
    due: Literal["send", "resume"] | None = None
    """What must be done for it as soon as the process it goes to is there."""
    awaited: bool = True
    """The prepared prompt of this attempt has not come: fetcher or preprocessor are at work on it. (That of an earlier attempt
    may be there: an attempt whose embedding was lost begins from the start again.)"""
    heard: bool = False
    """Tokens of this attempt have come, so the scheduler has it."""
    lost: int = 0
    """Times that its media went with a process."""
    early: list[Early] = []
    """Of this attempt: what has overtaken the prepared prompt."""

    @property
    def prepared(self) -> bool:
        return self.stream.prepared is not None

    def again(self, due: Literal["send", "resume"]) -> None:
        """A new attempt, which makes every message of the old one void."""
        self.request = msgspec.structs.replace(self.request, attempt=self.request.attempt + 1)
        self.due, self.awaited, self.heard, self.early = due, due == "send", False, []

    def take_early(self) -> list[Early]:
        taken, self.early = self.early, []
        return taken

    def accept(self, delta: Delta) -> Delta | None:
        """Note what is delivered. What a replay sends a second time is cut off: tokens by position, text by offset."""
        self.heard = True
        progress = self.choices[delta.choice]
        skip = max(0, len(progress.token_ids) - delta.position)
        had = max(0, progress.released - delta.offset)
        new = delta
        if skip or had:
            new = msgspec.structs.replace(
                delta, token_ids=delta.token_ids[skip:], logprobs=delta.logprobs[skip:], text=delta.text[had:]
            )
        if progress.ended or not (new.token_ids or new.text or new.finish_reason):
            return None
        progress.token_ids.extend(new.token_ids)
        progress.released += len(new.text)
        progress.ended = new.finish_reason is not None
        return new

    def lacks(self, delta: Delta) -> bool:
        """Tokens before these have not come: nothing may be given to the caller over a hole."""
        return delta.position > len(self.choices[delta.choice].token_ids)

    def so_far(self) -> tuple[ChoiceSoFar, ...]:
        return tuple(ChoiceSoFar(tuple(c.token_ids), c.released, c.ended) for c in self.choices)


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

    def caught_by(self, role: str) -> Iterator[Entry]:
        """Live requests that a dead `role` cannot go on with. What other roles lose, they or the scheduler make again."""
        for entry in self.live_ones():
            match role:
                case "fetcher" if entry.awaited and needs_fetch(entry.request):
                    yield entry
                case "preprocessor" if entry.awaited or not entry.heard:
                    yield entry  # its last words to the scheduler may be lost
                case "scheduler" if not entry.awaited:
                    yield entry

    def all(self) -> list[Entry]:
        return list(self._entries.values())

    def live_ones(self) -> list[Entry]:
        return [entry for entry in self._entries.values() if not entry.over]

    def __len__(self) -> int:
        return len(self.live_ones())


def needs_fetch(request: Request) -> bool:
    return any(isinstance(item.source, Url) for item in request.media)


def blobs_of(request: Request) -> tuple[BlobRef, ...]:
    """The media bytes that a request refers to."""
    return tuple(item.source.blob for item in request.media if item.source is not None and not isinstance(item.source, Url))
