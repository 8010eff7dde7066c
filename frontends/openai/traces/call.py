"""One call that is over, as it is kept and told. Pure."""

from typing import Any, Protocol

import msgspec

from ....protocol.edges.detokenizer_to_client import Finished
from ....protocol.errors import Failure
from ....protocol.requests.prepared import ItemSource, Timing
from ...client.timeline import Timeline, timeline_of


class TimedRequest(Protocol):
    """What is told of one request of a call: a stream, or what remains of one."""

    @property
    def finished(self) -> Finished | None: ...

    @property
    def failure(self) -> Failure | None: ...

    @property
    def sources(self) -> tuple[ItemSource, ...]: ...


class Remains(msgspec.Struct, frozen=True):
    """Of a stream that has been read, without the prompt that it holds."""

    finished: Finished | None
    failure: Failure | None
    sources: tuple[ItemSource, ...]


class EndedCall(msgspec.Struct, frozen=True, kw_only=True):
    """Moments are seconds by time.monotonic; `unix` is what makes unix seconds of them."""

    id: str
    tenant: str
    path: str
    model: str
    began: float
    ended: float
    unix: float
    timings: tuple[Timing, ...]
    sources: tuple[ItemSource, ...]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None
    """Why it ended without an answer, in a word."""
    traceparent: str | None = None
    """The caller's own trace, as its head names it; with `tracestate`."""
    tracestate: str | None = None

    @property
    def timeline(self) -> Timeline:
        return timeline_of(self.timings, self.sources, self.began)

    @property
    def weight(self) -> int:
        """Of what it holds."""
        return 1 + len(self.timings) + len(self.sources)

    def told(self) -> dict[str, Any]:
        """For whoever asks for it by its id."""
        timeline = self.timeline
        return {
            "id": self.id,
            "object": "request.timeline",
            "created": int(self.began + self.unix),
            "seconds": round(self.ended - self.began, 6),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "error": self.error,
            "stages": timeline.stages,
            "items": timeline.items,
        }
