"""Which requests the detokenizer may hear of: all, or, after it has died of one, the suspects one
at a time."""

from collections.abc import Mapping

from ...protocol.edges.scheduler_to_detokenizer import SchedulerToDetokenizer
from .blame import Blame
from .outbox import Outbox, about
from .replay import replay
from .sequence import ScheduledRequest


class Telling:
    """What goes to the detokenizer lies in the outbox; here is what of it leaves."""

    def __init__(
        self, outbox: Outbox, blame: Blame, requests: Mapping[str, ScheduledRequest]
    ) -> None:
        self._outbox, self._blame, self._requests = outbox, blame, requests
        self._only: str | None = None
        """The one request that it may hear of, because it is suspected to end it."""

    @property
    def told(self) -> list[ScheduledRequest]:
        """Of whom it has heard."""
        return [request for request in self._requests.values() if self._only in (None, request.id)]

    def begin(self) -> None:
        """A new detokenizer knows nothing: what the client has not acknowledged is told again; a
        suspect, alone."""
        # what it holds was meant for the one before, and is in the replay
        self._outbox.detokenizer.clear()
        self._only = self._blame.texts.first(lambda id: id in self._requests)
        for request in self.told:
            self._outbox.detokenizer += replay(request)

    def go_on(self) -> None:
        """Where the request that it was told of alone is over: tell it of the next suspect, or of
        everything."""
        if self._only is not None and self._only not in self._requests:
            self.begin()

    def take(self) -> list[SchedulerToDetokenizer]:
        """What to tell it now. While it is told of one suspect alone the rest is dropped, and
        replayed when its turn comes."""
        said, self._outbox.detokenizer = self._outbox.detokenizer, []
        return said if self._only is None else about(self._only, said)
