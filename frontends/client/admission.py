"""The limit on what is in the pipeline, counted on entry: requests, tokens, media bytes."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from ...protocol.edges.control import Share
from ...protocol.errors import Failure, RequestError, refuse
from ...protocol.requests.request import (
    ChatPrompt,
    EmbedsPrompt,
    Prompt,
    Text,
    TextPrompt,
    TokenPrompt,
)
from ...protocol.requests.sampling import SamplingParams

OPEN_END_TOKENS = 1024
"""Tokens that an answer without max_tokens counts for."""
CHARACTERS_PER_TOKEN = 4
"""Of usual text. A prompt is counted before it is tokenised."""
TOKENS_PER_MESSAGE = 16
"""That a chat template puts around a message, generously."""
SMALL_BODY = 1 << 20
"""Bytes up to which a request body may well be text alone."""


class Cost(msgspec.Struct, frozen=True):
    """What one request uses of the share until it ends."""

    requests: int
    tokens: int
    media_bytes: int

    def __add__(self, other: "Cost") -> "Cost":
        return self._with(other, 1)

    def __sub__(self, other: "Cost") -> "Cost":
        return self._with(other, -1)

    def _with(self, other: "Cost", sign: int) -> "Cost":
        return Cost(
            self.requests + sign * other.requests,
            self.tokens + sign * other.tokens,
            self.media_bytes + sign * other.media_bytes,
        )


NOTHING = Cost(0, 0, 0)


class Admission:
    """One client's permits. `try_take` refuses at once (a service), `take` queues (a batch)."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.taken = NOTHING
        self._waiting: deque[tuple[Cost, asyncio.Future[None]]] = deque()
        self._closed: Failure | None = None
        self._expected = NOTHING
        """By request bodies that are being read."""

    @property
    def closed(self) -> bool:
        return self._closed is not None

    def close(self, why: Failure) -> None:
        """For good: requests that wait, and all that come later, are refused for this reason."""
        self._closed = why
        waiting, self._waiting = self._waiting, deque()
        for _, place in waiting:
            if not place.done():
                place.set_exception(RequestError(why))

    def reshare(self, share: Share) -> None:
        """Use a new share: other clients have come or gone."""
        self.share = share
        self._admit_waiting()

    def _fits(self, cost: Cost) -> bool:
        if self.taken.requests == 0 and cost.requests == 1:
            return True  # a request larger than the whole share runs alone, rather than never
        whole, share = self.taken + cost, self.share
        return (
            whole.requests <= share.requests
            and whole.tokens <= share.tokens
            and whole.media_bytes <= share.media_bytes
        )

    def try_take(self, cost: Cost) -> None:
        """Raises RequestError("overloaded") if the share is used up."""
        self.check_open()
        if self._waiting or not self._fits(cost):
            raise _full()
        self.taken += cost

    @contextmanager
    def expecting(self, body_bytes: int) -> Iterator[None]:
        """Hold a place while a request body of this announced size is read.

        Raises RequestError("overloaded") if a request of that size could not be accepted now,
        together with those whose bodies are already being read. Media in a body are base64, so up
        to three quarters of it are media; without any it is small.
        """
        self.check_open()
        media = body_bytes // 4 * 3 if body_bytes > SMALL_BODY else 0
        body = Cost(1, 1, media)
        expected = self._expected  # of which media do not hold up a small body
        beside = Cost(expected.requests, 0, expected.media_bytes if media else 0)
        if self._waiting or not self._fits(body + beside):
            raise _full()
        self._expected += body
        try:
            yield
        finally:
            self._expected -= body

    @contextmanager
    def expecting_media(self, size: int) -> Iterator[None]:
        """Hold a place for media of a request that is being read, which its body has not announced.

        Raises RequestError("overloaded"). Whatever is larger than the whole share has a place where
        nothing else is.
        """
        beside = self.taken.media_bytes + self._expected.media_bytes
        if beside and beside + size > self.share.media_bytes:
            raise _full()
        self._expected += (media := Cost(0, 0, size))
        try:
            yield
        finally:
            self._expected -= media

    def check_open(self) -> None:
        """Raises RequestError after `close`."""
        if self._closed is not None:
            raise RequestError(self._closed)

    async def take(self, cost: Cost) -> None:
        """Wait in line until there is room. Raises RequestError if the door is closed before."""
        self.check_open()
        if not self._waiting and self._fits(cost):
            self.taken += cost
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((cost, place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.give(cost)  # admitted just as it was cancelled
            raise

    def give(self, cost: Cost) -> None:
        """Give back what `take` or `try_take` took."""
        self.taken -= cost
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        while self._waiting:
            cost, place = self._waiting[0]
            if place.cancelled():
                self._waiting.popleft()
            elif self._fits(cost):
                self._waiting.popleft()
                self.taken += cost
                place.set_result(None)
            else:
                return


def _full() -> RequestError:
    return refuse(
        "overloaded",
        "The engine has as much work as it takes at once; try again later.",
        code="overloaded",
    )


def estimate_tokens(prompt: Prompt, sampling: SamplingParams, context: int) -> int:
    """Tokens of a request with its answers, estimated: the prompt is not tokenised yet. No answer
    is longer than the context, whatever was asked for."""
    return _prompt_tokens(prompt) + sampling.n * min(
        sampling.max_tokens or OPEN_END_TOKENS, context
    )


def _prompt_tokens(prompt: Prompt) -> int:
    match prompt:
        case TokenPrompt(token_ids):
            return len(token_ids)
        case TextPrompt(text):
            return len(text) // CHARACTERS_PER_TOKEN + 1
        case ChatPrompt(messages):
            characters = sum(
                len(part.text)
                for message in messages
                for part in message.content
                if isinstance(part, Text)
            )
            return characters // CHARACTERS_PER_TOKEN + TOKENS_PER_MESSAGE * len(messages)
        case EmbedsPrompt():  # counted by its bytes, as media are
            return 0
