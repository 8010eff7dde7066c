"""The client: every face submits here, and each caller gets its stream."""

import asyncio
import os
import random
import secrets
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from ...protocol.config.roles import ClientConfig
from ...protocol.edges.client_to_scheduler import ChoiceSoFar
from ...protocol.edges.control import (
    AskStatus,
    Cache,
    Drain,
    Gone,
    Live,
    Refused,
    ResetOver,
    Reshare,
    Share,
    Status,
)
from ...protocol.edges.preprocessor_to_client import Tokenized
from ...protocol.errors import EngineError, Failure
from ...protocol.memory.blobs import read_once
from ...protocol.requests.pooling import PoolingParams
from ...protocol.requests.preview import Preview
from ...protocol.requests.request import MediaItem, Prompt, Request
from ...protocol.requests.sampling import SamplingParams
from ...protocol.wire import Message
from .admission import Admission, Cost, estimate_tokens
from .connection import Connection
from .deadline import LATE, before
from .deaths import Deaths
from .delivery import Delivery, check_sendable
from .dispatcher import Dispatcher
from .joining import Joined
from .ledger import Ledger, LedgerEntry, Progress, blobs_of
from .media_store import MediaStore
from .observer import Observer
from .questions import Questions
from .stream import Stream
from .suspects import Suspects
from .wanted import check_wanted

GONE = Failure("restarted", "The engine has ended.", code="engine_dead")
UNCONFIRMED = (
    "A process of the engine did not confirm in time that its cache is empty; see the log, then "
    "try again."
)
CLOSED = Failure(
    "restarted", "The engine is shutting down; send the request again.", code="shutting_down"
)
"""For requests that come while the engine drains."""
COMPUTED = SamplingParams(max_tokens=1, temperature=0.0, seed=0)
"""Of requests whose prompt is computed and nothing sampled."""
CUT = Failure(
    "restarted",
    "The engine shut down before this request was done; send it again.",
    code="shutting_down",
)
"""For requests that took longer than draining may."""


class Client:
    """In a running engine; one per process is enough. Not thread-safe: it belongs to its loop."""

    def __init__(self, connection: Connection, config: ClientConfig, share: Share) -> None:
        """`config` and `share`: what the director has answered to its Hello."""
        connection.listener = self
        self.model, self.model_name = config.model, config.name
        self.max_model_len = config.max_model_len
        self.admission = Admission(share)
        self.media = MediaStore(
            connection.run_dir, connection.name, self.admission, self._raise_if_closed
        )
        """Where the media of a request are put before it is submitted."""
        self._connection, self._roles = connection, config.roles
        self._ledger = Ledger()
        self._suspects = Suspects(partial(read_once, connection.run_dir))
        self._delivery = Delivery(connection, self._ledger, self._suspects)
        self._questions = Questions(connection)
        self._dispatcher = Dispatcher(
            connection, self._ledger, self._delivery, self._questions, self.admission, self.media
        )
        self._deaths = Deaths(
            connection, self._ledger, self._suspects, self._delivery, self._questions,
            self._dispatcher,
        )  # fmt: skip
        self._random = random.Random(config.seed)
        """Draws the seeds of requests that have none."""
        self._loop = asyncio.get_running_loop()
        self._dead: EngineError | None = None
        self._closed = False

    @classmethod
    async def connect(cls, run_dir: Path, name: str | None = None) -> "Client":
        """Join the engine that runs in `run_dir`. Raises EngineError where it refuses or does not
        answer, or is not ready soon."""
        joined = Joined(run_dir, name or f"{os.getpid()}-{secrets.token_hex(4)}")
        client = cls(joined, *await joined.greet())
        await joined.join()
        return client

    # what callers use

    @property
    def ready(self) -> bool:
        """Whether every actor of the engine is there."""
        return self._dead is None and self._connection.present(self._roles)

    @property
    def gone(self) -> bool:
        """Whether the engine has ended, or this client has left it: nothing brings it back."""
        return self._dead is not None or self._closed

    @property
    def draining(self) -> bool:
        """Whether the engine is about to end: it finishes what it has accepted."""
        return self.admission.closed

    def drain(self) -> None:
        """Accept nothing new from now on."""
        self.admission.close(CLOSED)
        self.media.wake()

    async def submit(
        self,
        prompt: Prompt,
        media: Sequence[MediaItem] = (),
        wanted: SamplingParams | PoolingParams | Preview | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        deadline: float | None = None,
        mm_processor_kwargs: Mapping[str, Any] | None = None,
        media_io_kwargs: Mapping[str, dict[str, Any]] | None = None,
        wait: bool = False,
        streamed: bool = True,
        era: str | None = None,
        so_far: Sequence[ChoiceSoFar] = (),
    ) -> Stream:
        """Accept one request for tokens, for vectors or for what it would cost. `wait`: queue for a
        place (a batch) instead of being refused (a service). `deadline`: seconds by time.monotonic.
        `streamed`: its tokens are read as they come. `era`: see `Request.era`. `so_far`: of each
        choice, what another engine has given of it, with the same seed; the stream goes on there.

        Raises RequestError if it is refused, EngineError if the engine is gone.
        """
        pooling = wanted if isinstance(wanted, PoolingParams) else None
        params = COMPUTED
        if not isinstance(wanted, PoolingParams | Preview):
            params = wanted or SamplingParams()
        if params.seed is None:
            params = params.replace(seed=self._random.getrandbits(63))
        request = Request(
            id=secrets.token_hex(12),
            client=self._connection.name,
            tenant=tenant,
            arrival=time.monotonic(),
            deadline=deadline,
            prompt=prompt,
            media=tuple(media),
            sampling=params,
            pooling=pooling,
            preview=isinstance(wanted, Preview),
            mm_processor_kwargs=dict(mm_processor_kwargs or {}),
            media_io_kwargs=dict(media_io_kwargs or {}),
            priority=priority,
            streamed=streamed and params is not COMPUTED,  # vectors come whole
            era=era,
        )
        return await self._accept(request, wait, so_far)

    async def _accept(
        self, request: Request, wait: bool, so_far: Sequence[ChoiceSoFar] = ()
    ) -> Stream:
        blobs = blobs_of(request)
        cost = Cost(
            1,
            estimate_tokens(request.prompt, request.sampling, self.max_model_len),
            sum(blob.nbytes for blob in blobs),
        )
        try:
            if not request.preview:
                check_wanted(self.model, self.model_name, request.pooling)
            check_sendable(request)
            self._deaths.check(request)
            async with before(request.deadline):
                await self._enter(cost, wait)
        except BaseException:
            self.media.drop_bytes(*blobs)
            raise
        stream = Stream(request.id, self.cancel)
        choices = [Progress(list(one.token_ids), one.released, one.ended) for one in so_far]
        choices = choices or [Progress() for _ in range(request.sampling.n)]
        entry = LedgerEntry(request, stream, cost, blobs, choices, elsewhere=bool(so_far))
        self._ledger.add(entry)
        self._delivery.start(entry)
        if request.deadline is not None:
            left = request.deadline - time.monotonic()
            entry.expiry = self._loop.call_later(max(0.0, left), self._expire, request.id)
        return stream

    async def _enter(self, cost: Cost, wait: bool) -> None:
        self._raise_if_dead()
        if not wait:
            self.admission.try_take(cost)
            return
        await self.admission.take(cost)
        try:
            self._raise_if_dead()  # the engine may have ended while this request queued
        except EngineError:
            self.admission.give(cost)
            raise

    async def tokenize(self, prompt: Prompt) -> Tokenized:
        """Token ids and text of a prompt without media, as the preprocessor would make them."""
        self._raise_if_dead()
        request = self._questions.request(prompt)
        self._deaths.check(request)
        return await self._questions.tokenize(request)

    async def pin(self, tenant: str, owner: str, name: str, expires: float | None = None) -> None:
        """Have the encoder-cache keep an item on disk. RequestError where it does not."""
        self._raise_if_dead()
        await self._questions.pin(tenant, owner, name, expires)

    async def unpin(self, owner: str) -> None:
        """Idempotent. Raises RequestError."""
        self._raise_if_dead()
        await self._questions.unpin(owner)

    async def cancel(self, id: str) -> None:
        """End a request wherever it is. Idempotent."""
        entry = self._ledger.live(id)
        if entry is not None:
            self._dispatcher.end(entry, Failure("cancelled", "The request was cancelled."))

    def _expire(self, id: str) -> None:
        entry = self._ledger.live(id)
        if entry is not None:
            self._dispatcher.end(entry, LATE)

    def counters(self) -> dict[str, float]:
        """What this client's requests hold now."""
        taken = self.admission.taken
        return {
            "open_requests": len(self._ledger.all()),
            "admitted_requests": taken.requests,
            "admitted_tokens": taken.tokens,
            "admitted_media_bytes": taken.media_bytes,
            "arena_bytes_used": self.media.used,
        }

    async def status(self) -> Status:
        """What the director knows: readiness, pids, fresh counters of every role. EngineError where
        none answers."""
        self._raise_if_dead()
        return await self._questions.status()

    async def live(self) -> Live:
        """All that can be seen of the engine now; costs every process a moment. EngineError where
        none answers."""
        self._raise_if_dead()
        return await self._questions.live()

    def under_way(self) -> list[LedgerEntry]:
        """This client's requests that are not over, the oldest first; to be read only."""
        return self._ledger.live_ones()

    def observe(self, observer: Observer | None) -> None:
        """Who hears from now on of deaths, returns and ends; one at a time."""
        self._dispatcher.observer = observer

    async def reset(self, cache: Cache) -> bool:
        """Have the engine's cache of media, or of prompts' beginnings, emptied. True: every actor
        that has a part of it has done so, or died; requests submitted from now on find nothing of
        before. Raises EngineError where none answers."""
        self._raise_if_dead()
        return await self._questions.reset(cache)

    async def close(self) -> None:
        """Leave the engine: requests in flight are cancelled, what this client held is freed."""
        if self._closed:
            return
        self._closed = True
        self._dispatcher.end_all(Failure("cancelled", "The client was closed."))
        self._dispatcher.flush()
        await self._connection.leave(in_order=self._dead is None)
        self.media.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def end_all(self, failure: Failure) -> None:
        """End every request that is under way."""
        self._dispatcher.end_all(failure)

    # what its connection hears (`Listener`)

    def on_message(self, message: Any) -> None:
        self._dispatcher.hear(message)

    def on_director(self, message: Any) -> None:
        match message:
            case Gone(role, epoch, outside):
                self._deaths.gone(role, epoch, outside)
                self._dispatcher.tell_of_change()
            case Reshare(share):
                self.admission.reshare(share)
            case Drain():
                self.drain()
                self._dispatcher.tell_if_drained()
            case Status() as status:
                self._questions.on_all(AskStatus, status)
                if status.fatal is not None:
                    self._die(EngineError(status.fatal), gave_up=status.gave_up)
            case Live() as live:
                self._questions.on_answer(live.number, live)
            case ResetOver(number, done):
                self._questions.on_answer(number, done)
            case Refused(text):
                self._die(EngineError(text))

    def on_peers(self) -> None:
        self._dispatcher.tell_of_change()
        self._suspects.met(self._connection.others)
        self._delivery.do_due()

    def on_gap(self) -> None:
        """Messages are missing; some may have said that media are free."""
        self._dispatcher.end_leases([entry for entry in self._ledger.all() if entry.over])
        self._delivery.take_up_all()

    def on_director_lost(self) -> None:
        self._die(EngineError("The engine has ended."))

    def _die(self, error: EngineError, gave_up: bool = False) -> None:
        self._dead = error
        for entry in self._ledger.all():
            entry.leased = False
        self._dispatcher.end_all(CUT if self.draining and not gave_up else GONE)
        self._questions.on_all(Message, error)
        self.media.wake()

    def _raise_if_closed(self) -> None:
        self._raise_if_dead()
        self.admission.check_open()

    def _raise_if_dead(self) -> None:
        if self._dead is not None:
            raise self._dead
        if self._closed:
            raise EngineError("This client is closed.")
