"""client -> encoder-cache: what is to stay on disk for as long as an uploaded file does."""

from ..wire import Message


class Pin(Message, frozen=True):
    """Keep the item that is called `name` on disk; answered with `Pinned`."""

    id: str
    """Of the question."""
    client: str
    """Who is answered."""
    tenant: str
    owner: str
    """The file's name there, hex: `pin_name`. What it had pinned before it has not any more."""
    name: str
    """The item's: `ItemSource.name`."""
    expires: float | None
    """Seconds by time.time, from which on the pin is none. None: until it is unpinned."""


class Unpin(Message, frozen=True):
    """`owner` pins nothing any more; idempotent, and answered with `Pinned`."""

    id: str
    client: str
    owner: str


ClientToEncoderCache = Pin | Unpin
