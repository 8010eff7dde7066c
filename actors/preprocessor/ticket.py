"""What the shell keeps of one request until it is submitted or refused."""

from dataclasses import dataclass, field

from ...protocol.prepared import Timing
from ...protocol.request import MediaItem, Request
from .prompt import Rendered
from .store import Entry


@dataclass(eq=False)
class Ticket:
    """`entries[i]` holds a pin on what `request.media[i]` became; None while it is awaited."""

    request: Request
    fetched: bool
    """Its bytes are the fetcher's, who wants them back."""
    rendered: Rendered
    timings: list[Timing]
    digests: list[str | None] = field(default_factory=list)
    entries: list[Entry | None] = field(default_factory=list)
    over: bool = False
    """Answered or ended; what still comes for it is dropped."""

    @property
    def complete(self) -> bool:
        return bool(self.digests or not self.request.media) and all(entry is not None for entry in self.entries)


@dataclass(frozen=True, eq=False)
class Waiter:
    """A ticket's item that a flight will bring."""

    ticket: Ticket
    index: int

    @property
    def item(self) -> MediaItem:
        return self.ticket.request.media[self.index]
