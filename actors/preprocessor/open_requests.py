"""The requests that are being prepared, and how they leave: prepared, refused, or dropped because
nobody waits any more. Whichever way, whose bytes their media are hears that these are free."""

from collections.abc import Callable, Iterator

from ...protocol import topology
from ...protocol.edges.shared import MediaRead, RequestFailed
from ...protocol.errors import Failure
from ...protocol.requests.request import Request
from ...protocol.wire import Message
from .decoding import ItemDecoding
from .feeding import Feeds
from .identities import Identities
from .pending_request import Feed, PendingRequest


class OpenRequests:
    """Owns them, by id. Belongs to the loop."""

    def __init__(
        self,
        send: Callable[[str, Message], bool],
        catch_up: Callable[[], None],
        decoding: ItemDecoding,
        feeds: Feeds,
        identities: Identities,
    ) -> None:
        """`catch_up`: hears what the director has said by now."""
        self._send, self._catch_up = send, catch_up
        self._decoding, self._feeds, self._identities = decoding, feeds, identities
        self._pending: dict[str, PendingRequest] = {}
        self.failed = 0
        """Refused since the start."""

    def __len__(self) -> int:
        return len(self._pending)

    def __iter__(self) -> Iterator[PendingRequest]:
        """Those that are there now, whatever becomes of them meanwhile."""
        return iter(list(self._pending.values()))

    def get(self, id: str) -> PendingRequest | None:
        return self._pending.get(id)

    def add(self, pending: PendingRequest) -> None:
        self._pending[pending.request.id] = pending

    def release(self, pending: PendingRequest) -> None:
        """It is answered or ended: what it holds here is free. Idempotent."""
        pending.over = True
        if self._pending.get(pending.request.id) is pending:
            del self._pending[pending.request.id]
        self._decoding.release(pending)

    def fail(self, pending: PendingRequest, failure: Failure) -> None:
        """Idempotent."""
        if failure.kind == "restarted":
            # the news of the death comes first, and may have dropped the request
            self._catch_up()
        if not pending.over:
            if pending.feed is not None:
                self._feeds.failed(pending)
            self._identities.free(pending)
            self.release(pending)
            self.refuse(pending.request, pending.fetched, failure)

    def refuse(self, request: Request, fetched: bool, failure: Failure) -> None:
        """Of one that need not be open. `fetched`: its media are the fetcher's."""
        self.failed += 1
        self._send(request.client, RequestFailed(request.id, request.attempt, failure))
        self.say_read(request, fetched)

    def drop(self, pending: PendingRequest) -> None:
        """Nobody waits for it any more."""
        self.release(pending)
        self.give_back(pending.request, pending.fetched)

    def drop_all(self, concerned: Callable[[PendingRequest | Feed], bool]) -> None:
        """Also of pages that are made for requests which have left."""
        for pending in filter(concerned, self):
            self.drop(pending)
        self._feeds.end_all(concerned)

    def give_back(self, request: Request, fetched: bool) -> None:
        """Its media, unread, to whoever has them."""
        self._send(request.client, MediaRead(request.id, request.attempt))
        self.say_read(request, fetched)

    def say_read(self, request: Request, fetched: bool = True) -> None:
        """To the fetcher, whose bytes its media may have been."""
        if fetched:
            self._send(topology.FETCHER, MediaRead(request.id, request.attempt))
