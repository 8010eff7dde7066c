"""The reply slot of one request: merges what comes, so a slow reader costs little memory."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Self

import msgspec

from ...protocol.edges.detokenizer_to_client import Delta, Finished, PositionLogprobs
from ...protocol.edges.preprocessor_to_client import Previewed
from ...protocol.edges.scheduler_to_detokenizer import Vectors
from ...protocol.errors import Failure, RequestError
from ...protocol.requests.prepared import ItemSource, Prepared

MOST_UNREAD = 1 << 18
"""Log-probabilities that wait for a caller who does not read: some 65 MB. Text is small beside."""


class Choice(msgspec.Struct):
    """What has come of one choice: since the last update; in an `Answer`, from its beginning."""

    index: int
    text: str = ""
    token_ids: list[int] = []
    logprobs: list[PositionLogprobs] = []
    finish_reason: Literal["stop", "length"] | None = None
    stop_reason: str | int | None = None
    scored: int = 0
    """Characters of tokens, each decoded alone, of which another engine has given the
    log-probabilities: half a character counts as one there, so the text does not tell it."""

    def add(self, news: "Delta | Choice") -> None:
        """Merge what came after."""
        self.text += news.text
        self.token_ids.extend(news.token_ids)
        self.logprobs.extend(news.logprobs)
        if news.finish_reason is not None:
            self.finish_reason, self.stop_reason = news.finish_reason, news.stop_reason


class Update(msgspec.Struct):
    """Everything that came since the last update, merged."""

    choices: list[Choice]
    finished: Finished | None = None
    """With usage and timings; only in the last update."""
    prompt_logprobs: list[PositionLogprobs] | None = None
    """Of the prompt's next positions; the first is 1."""
    vectors: Vectors | None = None
    """In the last update of a request that wants them."""


class Stream:
    """An async iterator of `Update`. Raises RequestError when the request fails.

    As an async context manager it cancels the request if it is left unfinished.
    """

    def __init__(self, id: str, cancel: Callable[[str], Awaitable[None]]) -> None:
        self.id = id
        self.prepared: Prepared | None = None
        """The prepared prompt; there before the first update."""
        self.prompt_text: str | None = None
        """Of a conversation, as its template rendered it; there as early."""
        self.sources: tuple[ItemSource, ...] = ()
        """Of its media; there as early."""
        self.previewed: Previewed | None = None
        """Of a request for what it would cost; there with its end."""
        self.where = ""
        """What its caller calls its prompt, where that is refused for what it is."""
        self._cancel = cancel
        self._news = False
        """Something has come that the caller has not read."""
        self._reader: asyncio.Future[None] | None = None
        """Of the caller, while it waits: one at a time."""
        self._pending: dict[int, Choice] = {}
        self._prompt_logprobs: list[PositionLogprobs] | None = None
        self.unread = 0
        """Log-probabilities that have come since the caller last read."""
        self._scored = 0
        """Positions of the prompt whose log-probabilities have come."""
        self._vectors: Vectors | None = None
        self._finished: Finished | None = None
        self._failure: Failure | None = None
        self._over = False

    @property
    def prompt_token_ids(self) -> tuple[int, ...]:
        return self.prepared.prompt_token_ids if self.prepared is not None else ()

    @property
    def prompt_tokens(self) -> int:
        """How many the prompt has, be they rows of embeddings."""
        return len(self.prepared.token_ids) if self.prepared is not None else 0

    @property
    def ended(self) -> bool:
        """Whether the terminal message has come, read or not."""
        return self._finished is not None or self._failure is not None

    @property
    def finished(self) -> Finished | None:
        """With usage and timings, once it has ended well."""
        return self._finished

    @property
    def failure(self) -> Failure | None:
        return self._failure

    # the client writes

    def push(self, delta: Delta) -> None:
        """Merge a delta that the ledger has accepted as new."""
        pending = self._pending.get(delta.choice)
        if pending is None:
            pending = self._pending[delta.choice] = Choice(delta.choice)
        pending.add(delta)
        if delta.logprobs:
            self.unread += sum(1 + len(position.top) for position in delta.logprobs)
        self._wake()

    def push_prompt(self, start: int, entries: Sequence[PositionLogprobs]) -> None:
        """From position `start` on. A replay, or another attempt, brings them again from 1 on."""
        fresh = entries[max(0, 1 + self._scored - start) :]
        self._scored += len(fresh)
        self._prompt_logprobs = [*(self._prompt_logprobs or ()), *fresh]
        self._wake()

    def skip_prompt(self, positions: int) -> None:
        """Of so many of its positions the caller has the log-probabilities already."""
        self._scored = positions

    def push_vectors(self, vectors: Vectors) -> None:
        """Another attempt brings the same again."""
        self._vectors = vectors

    def finish(self, finished: Finished) -> None:
        self._finished = finished
        self._wake()

    def fail(self, failure: Failure) -> None:
        self._failure = failure
        self._wake()

    def _wake(self) -> None:
        self._news = True
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # the caller reads

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        if self._over:
            raise StopAsyncIteration
        if not self._news:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        self._news = False
        if self._failure is not None and not self._pending:
            self._over = True
            raise RequestError(self._failure)
        update = Update(
            list(self._pending.values()), self._finished, self._prompt_logprobs, self._vectors
        )
        self._pending, self._prompt_logprobs, self.unread = {}, None, 0
        self._over = self._finished is not None
        if self._failure is not None:  # the text that came before the failure is delivered first
            self._news = True
        return update

    async def cancel(self) -> None:
        """End the request wherever it is. Idempotent; does nothing to a finished request."""
        if not self.ended:
            await self._cancel(self.id)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cancel()
