"""What the server does with the calls that are over."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ....protocol.config.server import ServerConfig
from .call import EndedCall, TimedRequest
from .chrome import ChromeFile
from .kept import Kept
from .otlp import spans
from .telling import Collector, Teller

LONGEST_HEAD = 512
"""Characters of a head that names a trace (W3C: 55, and as many as 512 of its state)."""


class Traces:
    """Of one server: memory of the last calls, and the thread that tells them, where anybody
    collects them."""

    def __init__(self, config: ServerConfig, model: str) -> None:
        self._model = model
        self.kept = Kept()
        makers: list[Callable[[], Collector]] = []
        if config.trace_out is not None:
            makers.append(partial(ChromeFile, config.trace_out))
        if config.otlp_endpoint is not None:
            makers.append(partial(spans, config.otlp_endpoint, config.otlp_headers))
        self._teller = Teller(tuple(makers)) if makers else None

    def note(
        self,
        id: str,
        tenant: str,
        path: str,
        began: float,
        asked: Sequence[TimedRequest],
        heads: Mapping[str, str],
    ) -> None:
        """A call whose requests are over, or about to be ended because their caller has left."""
        ended = [one.finished for one in asked if one.finished is not None]
        call = EndedCall(
            id=id,
            tenant=tenant,
            path=path,
            model=self._model,
            began=began,
            ended=time.monotonic(),
            unix=time.time() - time.monotonic(),
            timings=tuple(timing for finished in ended for timing in finished.timings),
            sources=tuple(source for one in asked for source in one.sources),
            prompt_tokens=sum(finished.usage.prompt_tokens for finished in ended),
            completion_tokens=sum(finished.completion_tokens for finished in ended),
            error=next((error for one in asked if (error := _error(one))), None),
            traceparent=_short(heads.get("traceparent")),
            tracestate=_short(heads.get("tracestate")),
        )
        self.kept.add(call)
        if self._teller is not None:
            self._teller.tell(call)

    def close(self) -> None:
        """Waits a moment: not for a loop."""
        if self._teller is not None:
            self._teller.close()


def _error(asked: TimedRequest) -> str | None:
    if asked.finished is not None:
        return None
    failure = asked.failure
    return "cancelled" if failure is None else failure.code or failure.kind


def _short(head: str | None) -> str | None:
    return head if head is not None and len(head) <= LONGEST_HEAD else None
