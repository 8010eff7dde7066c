"""The one bound of the whole pipeline, counted once, at the door: requests, tokens and media bytes."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from ..protocol.edges.control import Share
from ..protocol.errors import Failure, RequestError, refuse
from ..protocol.request import ChatPrompt, Prompt, Text, TextPrompt, TokenPrompt
from ..protocol.sampling import SamplingParams

OPEN_END_TOKENS = 1024
"""What an answer without max_tokens counts."""
SMALL_BODY = 1 << 20
"""Bytes of a request body that may well be text alone."""


class Cost(msgspec.Struct, frozen=True):
    """What one request takes of the share until it ends."""

    requests: int
    tokens: int
    media_bytes: int


class Admission:
    """Permits of one client. `try_take` refuses at once (a service), `take` waits in order (a batch)."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self._requests = self._tokens = self._media = 0
        self._waiting: deque[tuple[Cost, asyncio.Future[None]]] = deque()
        self._closed: Failure | None = None
        self._expected_requests = self._expected_media = 0
        """Of bodies that are being read."""

    @property
    def requests(self) -> int:
        return self._requests

    @property
    def taken(self) -> Cost:
        return Cost(self._requests, self._tokens, self._media)

    @property
    def closed(self) -> bool:
        return self._closed is not None

    def close(self, why: Failure) -> None:
        """For good: whoever waits, and whoever comes, is refused for this reason."""
        self._closed = why
        waiting, self._waiting = self._waiting, deque()
        for _, place in waiting:
            if not place.done():
                place.set_exception(RequestError(why))

    @property
    def expected(self) -> int:
        """Bodies that are being read."""
        return self._expected_requests

    def reshare(self, share: Share) -> None:
        self.share = share
        self._admit_waiting()

    def _fits(self, cost: Cost) -> bool:
        if self._requests == 0 and cost.requests == 1:
            return True  # a request larger than the share runs alone rather than never
        return (
            self._requests + cost.requests <= self.share.requests
            and self._tokens + cost.tokens <= self.share.tokens
            and self._media + cost.media_bytes <= self.share.media_bytes
        )

    def _add(self, cost: Cost) -> None:
        self._requests += cost.requests
        self._tokens += cost.tokens
        self._media += cost.media_bytes

    def try_take(self, cost: Cost) -> None:
        """Raises RequestError("overloaded") where the share is used up."""
        self.check_open()
        if self._waiting or not self._fits(cost):
            raise _full()
        self._add(cost)

    @contextmanager
    def expecting(self, body_bytes: int) -> Iterator[None]:
        """While a body of this announced size is read. Raises RequestError("overloaded") where no request of that size could be
        taken now, beside those whose bodies are being read already. Media in a body are base64, so three quarters of it may be
        media; a body without any is far smaller."""
        self.check_open()
        media = body_bytes // 4 * 3 if body_bytes > SMALL_BODY else 0
        beside = self._expected_media if media else 0  # what a large body is waited for does not concern a small one
        if self._waiting or not self._fits(Cost(1 + self._expected_requests, 1, media + beside)):
            raise _full()
        self._expected_requests += 1
        self._expected_media += media
        try:
            yield
        finally:
            self._expected_requests -= 1
            self._expected_media -= media

    def check_open(self) -> None:
        """Raises RequestError once the door is closed."""
        if self._closed is not None:
            raise RequestError(self._closed)

    async def take(self, cost: Cost) -> None:
        self.check_open()
        if not self._waiting and self._fits(cost):
            self._add(cost)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((cost, place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.give(cost)  # admitted in the moment of cancellation
            raise

    def give(self, cost: Cost) -> None:
        self._requests -= cost.requests
        self._tokens -= cost.tokens
        self._media -= cost.media_bytes
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        while self._waiting:
            cost, place = self._waiting[0]
            if place.cancelled():
                self._waiting.popleft()
            elif self._fits(cost):
                self._waiting.popleft()
                self._add(cost)
                place.set_result(None)
            else:
                return


def _full() -> RequestError:
    return refuse("overloaded", "The engine has as much work as it takes at once; try again later.", code="overloaded")


def estimate_tokens(prompt: Prompt, sampling: SamplingParams) -> int:
    """Tokens of a request, its answers included, before the prompt is tokenised: text has one for four characters or so."""
    return _prompt_tokens(prompt) + sampling.n * (sampling.max_tokens or OPEN_END_TOKENS)


def _prompt_tokens(prompt: Prompt) -> int:
    match prompt:
        case TokenPrompt(token_ids):
            return len(token_ids)
        case TextPrompt(text):
            return len(text) // 4 + 1
        case ChatPrompt(messages):
            return sum(len(p.text) for m in messages for p in m.content if isinstance(p, Text)) // 4 + 16 * len(messages)
