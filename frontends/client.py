"""THE client: every face submits here. It admits, keeps the ledger, and gives each caller its stream."""

import asyncio
import os
import random
import secrets
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from ..protocol.blobs import Arena, BlobRef, Bytes, read_once
from ..protocol.checkpoint import ModelInfo
from ..protocol.edges.client_to_scheduler import Ack
from ..protocol.edges.control import AskStatus, Drain, Drained, Gone, Refused, Reshare, Status
from ..protocol.edges.detokenizer_to_client import Delta, Deltas, DetokenizeFailed, Finished, PromptText
from ..protocol.edges.fetcher_to_client import Failed
from ..protocol.edges.preprocessor_to_client import MediaDropped, PreparedCopy, PrepareFailed, Tokenized
from ..protocol.edges.scheduler_to_client import MediaLost, Rejected
from ..protocol.errors import EngineError, Failure, RequestError, refuse
from ..protocol.request import MediaItem, Prompt, Request
from ..protocol.sampling import SamplingParams
from ..protocol.shortage import NO_SPACE, SpaceError, shortage
from .admission import Admission, Cost, estimate_tokens
from .connection import Connection
from .deadline import LATE, before
from .delivery import Delivery, check_sendable
from .ledger import Early, Entry, Ledger, Progress, blobs_of, needs_fetch
from .stream import Stream
from .suspects import Suspects, outline
from .tokenizing import ANSWER_SECONDS, RESTARTED, Tokenizing

GONE = Failure("restarted", "The engine has ended.", code="engine_dead")
CLOSED = Failure("restarted", "The engine is shutting down; send the request again.", code="shutting_down")
"""Of what comes while the engine drains."""
CUT = Failure("restarted", "The engine shut down before this request was done; send it again.", code="shutting_down")
"""Of what was under way for longer than draining may take."""
CHANGED = Failure(
    "restarted", "The media of this request had to be read again and have changed; send it again.", code="media_changed"
)


class Client:
    """One connection to a running engine; one per process is enough. Not thread-safe: it belongs to its event loop."""

    model: ModelInfo
    model_name: str
    max_model_len: int
    admission: Admission
    _roles: tuple[str, ...]
    _random: random.Random
    """Draws the seeds of requests that bring none."""
    _loop: asyncio.AbstractEventLoop

    def __init__(self, run_dir: Path, name: str) -> None:
        self._connection = Connection(run_dir, name, self._hear, self._hear_director, self._meet, self._lose_engine, self._mend)
        self._arena = Arena(run_dir, f"{self._connection.role}.0", 1 << 40)
        self._ledger = Ledger()
        self._suspects = Suspects(partial(read_once, run_dir))
        self._delivery = Delivery(self._connection, self._ledger, self._suspects)
        self._ending: list[str] = []
        self._tokenizing = Tokenizing(self._connection)
        self._statuses: list[asyncio.Future[Status]] = []
        self._freed = asyncio.Event()
        """Set when media have left the arena, or will never leave it."""
        self._dead: EngineError | None = None
        self._closed = False

    @classmethod
    async def connect(cls, run_dir: Path, name: str | None = None, patience: float | None = ANSWER_SECONDS) -> "Client":
        """Join the engine that runs in `run_dir`; `patience` in seconds, None while the engine itself is only starting.

        Raises EngineError where it refuses, TimeoutError where none answers.
        """
        client = cls(run_dir, name or f"{os.getpid()}-{secrets.token_hex(4)}")
        config, share = await client._connection.greet()
        client.model, client.model_name, client.max_model_len = config.model, config.name, config.max_model_len
        client._roles = config.roles
        client.admission = Admission(share)
        client._random = random.Random(config.seed)
        client._loop = asyncio.get_running_loop()
        await client._connection.join(patience)
        return client

    # what callers use

    @property
    def ready(self) -> bool:
        """Every actor of the engine is there."""
        return self._dead is None and self._connection.present(self._roles)

    @property
    def draining(self) -> bool:
        """The engine is about to end: what was accepted finishes, nothing new is taken."""
        return self.admission.closed

    def drain(self) -> None:
        """Take nothing new from now on."""
        self.admission.close(CLOSED)
        self._freed.set()

    @property
    def inflight(self) -> int:
        return len(self._ledger)

    def put_bytes(self, data: Bytes, dtype: str = "uint8", shape: tuple[int, ...] | None = None) -> BlobRef:
        """Media into shared memory. The request that is submitted with it owns it; else give it back with `drop_bytes`.

        Raises RequestError: "overloaded" where clients have as much as they may, "unavailable" where the machine has no more.
        """
        if self._arena.used + len(data) > self.admission.share.media_bytes and self._arena.used:
            raise refuse(
                "overloaded", "The engine holds as much media as it takes at once; try again later.", code="overloaded"
            )
        try:
            return self._arena.put(data, dtype, shape)
        except SpaceError as error:
            raise RequestError(shortage(error) or NO_SPACE) from None

    def drop_bytes(self, blob: BlobRef) -> None:
        """For a blob that was never submitted."""
        self._arena.free(blob)
        self._freed.set()

    async def room(self, nbytes: int, deadline: float | None = None) -> None:
        """Wait until media of this size can be put: a batch queues where a service refuses. Raises RequestError too late."""
        async with before(deadline):
            while nbytes and self._arena.used and self._arena.used + nbytes > self.admission.share.media_bytes:
                self._raise_if_dead()
                self.admission.check_open()
                self._freed.clear()
                await self._freed.wait()

    async def submit(
        self,
        prompt: Prompt,
        media: Sequence[MediaItem] = (),
        sampling: SamplingParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        deadline: float | None = None,
        mm_processor_kwargs: Mapping[str, Any] | None = None,
        media_io_kwargs: Mapping[str, dict[str, Any]] | None = None,
        wait: bool = False,
    ) -> Stream:
        """Accept one request. `wait`: queue at the door (a batch) instead of being refused (a service).

        Raises RequestError when it is refused; EngineError when the engine is gone.
        """
        params = sampling or SamplingParams()
        if params.seed is None:
            params = params.replace(seed=self._random.getrandbits(63))
        request = Request(
            id=secrets.token_hex(12),
            client=self._connection.role,
            tenant=tenant,
            arrival=time.time(),
            deadline=deadline,
            prompt=prompt,
            media=tuple(media),
            sampling=params,
            mm_processor_kwargs=dict(mm_processor_kwargs or {}),
            media_io_kwargs=dict(media_io_kwargs or {}),
            priority=priority,
        )
        blobs = blobs_of(request)
        cost = Cost(1, estimate_tokens(prompt, params), sum(blob.nbytes for blob in blobs))
        try:
            check_sendable(request)
            self._refuse_poison(request)
            async with before(deadline):
                await self._enter(cost, wait)
        except BaseException:
            for blob in blobs:
                self.drop_bytes(blob)
            raise
        stream = Stream(request.id, self.cancel)
        entry = Entry(request, stream, cost, blobs, [Progress() for _ in range(params.n)])
        self._ledger.add(entry)
        self._delivery.start(entry)
        if deadline is not None:
            self._loop.call_later(max(0.0, deadline - time.time()), self._expire, request.id)
        return stream

    async def _enter(self, cost: Cost, wait: bool) -> None:
        self._raise_if_dead()
        if not wait:
            self.admission.try_take(cost)
            return
        await self.admission.take(cost)
        try:
            self._raise_if_dead()  # the engine may have ended while this one queued
        except EngineError:
            self.admission.give(cost)
            raise

    async def tokenize(self, prompt: Prompt) -> Tokenized:
        """Token ids and text of a prompt without media, as the preprocessor would make them."""
        self._raise_if_dead()
        request = self._tokenizing.request(prompt)
        self._refuse_poison(request)
        return await self._tokenizing.ask(request)

    async def cancel(self, id: str) -> None:
        """End a request wherever it is. Idempotent."""
        entry = self._ledger.live(id)
        if entry is not None:
            self._end(entry, Failure("cancelled", "The request was cancelled."))

    def end_all(self, failure: Failure) -> None:
        """End every request that is under way."""
        for entry in self._ledger.all():
            if not entry.over:
                self._end(entry, failure)

    def _expire(self, id: str) -> None:
        entry = self._ledger.live(id)
        if entry is not None:
            self._end(entry, LATE)

    def counters(self) -> dict[str, float]:
        """What this client's requests hold of it now."""
        taken = self.admission.taken
        return {
            "open_requests": len(self._ledger.all()),
            "admitted_requests": taken.requests,
            "admitted_tokens": taken.tokens,
            "admitted_media_bytes": taken.media_bytes,
            "arena_bytes_used": self._arena.used,
        }

    async def status(self) -> Status:
        """What the director knows: readiness, pids, fresh counters of every role."""
        self._raise_if_dead()
        future: asyncio.Future[Status] = self._loop.create_future()
        self._statuses.append(future)
        self._connection.ask(AskStatus(self._connection.role))
        async with asyncio.timeout(ANSWER_SECONDS):
            return await future

    async def close(self) -> None:
        """Leave: what is in flight is cancelled, what this client held is freed."""
        if self._closed:
            return
        self._closed = True
        self.end_all(Failure("cancelled", "The client was closed."))
        self._flush_ends()
        await self._connection.leave(in_order=self._dead is None)
        self._arena.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        await self.close()

    # the way back

    def _hear(self, message: Any) -> None:
        match message:
            case Deltas(deltas):
                for delta in deltas:
                    self._hear_of(delta)
            case Finished() | PromptText():
                self._hear_of(message)
            case PreparedCopy(prepared, submitted_to):
                self._delivery.passed(prepared.id, submitted_to)
                self._free(self._ledger.end_lease(prepared.id, prepared.attempt))
                entry = self._ledger.live(prepared.id, prepared.attempt)
                if entry is not None and not self._delivery.prepared(entry, prepared, submitted_to):
                    self._end(entry, CHANGED)
                elif entry is not None:
                    for early in entry.take_early():
                        self._hear_of(early)
            case PrepareFailed(id, attempt, failure) | Failed(id, attempt, failure):
                self._free(self._ledger.end_lease(id, attempt))
                self._fail(id, attempt, failure)
            case Rejected(id, attempt, failure) | DetokenizeFailed(id, attempt, failure):
                self._fail(id, attempt, failure)
            case MediaDropped(id, attempt):
                self._free(self._ledger.end_lease(id, attempt))
            case MediaLost(id, attempt):
                entry = self._ledger.live(id, attempt)
                if entry is not None and not self._delivery.media_lost(entry):
                    self._end(entry, RESTARTED)
            case Tokenized() as tokenized:
                self._tokenizing.hear(tokenized)

    def _hear_of(self, message: Early) -> None:
        """What is told of a prompt that the ledger has; what has come before its prompt, on another edge, waits for it."""
        entry = self._ledger.live(message.id, message.attempt)
        if entry is None:
            return
        if not entry.prepared:
            entry.early.append(message)
            return
        match message:
            case Finished():
                self._end(entry, _whole_way(entry, message))
            case PromptText(entries=entries):
                entry.stream.push_prompt(entries)
            case Delta() if entry.lacks(message):
                self._delivery.resume_anew(entry)
            case Delta():
                if (new := entry.accept(message)) is not None:
                    entry.stream.push(new)

    def _fail(self, id: str, attempt: int, failure: Failure) -> None:
        self._tokenizing.fail(id, failure)
        entry = self._ledger.live(id, attempt)
        if entry is not None:
            self._end(entry, failure)

    def _end(self, entry: Entry, outcome: Finished | Failure) -> None:
        """The one place where a request ends: exactly one terminal for its caller, `End` for every actor."""
        entry.over = True
        if entry.due == "send":
            entry.leased = False  # nobody has been told of this attempt, and an earlier one is void
        if isinstance(outcome, Finished):
            entry.stream.finish(outcome)
            self._connection.send("scheduler", Ack((entry.request.id,)))
        else:
            entry.stream.fail(outcome)
        self.admission.give(entry.cost)
        self._tell_if_drained()
        if not self._ending:
            self._loop.call_soon(self._flush_ends)
        self._ending.append(entry.request.id)
        self._free(entry)
        self._delivery.ended(entry.request.id)

    def _free(self, entry: Entry | None) -> None:
        if entry is not None:
            for blob in self._ledger.sweep(entry):
                self._arena.free(blob)
            self._freed.set()

    def _flush_ends(self) -> None:
        ids, self._ending = tuple(self._ending), []
        if ids:
            self._connection.end(ids)

    # the director

    def _tell_if_drained(self) -> None:
        if self.draining and not self._ledger.live_ones():
            self._connection.ask(Drained(self._connection.role, 0))

    def _hear_director(self, message: Any) -> None:
        match message:
            case Gone(role, epoch, outside):
                self._mourn(role, epoch, outside)
            case Reshare(share):
                self.admission.reshare(share)
            case Drain():
                self.drain()
                self._tell_if_drained()
            case Status() as status:
                waiting, self._statuses = self._statuses, []
                for future in waiting:
                    if not future.done():
                        future.set_result(status)
                if status.fatal is not None:
                    self._die(EngineError(status.fatal))
            case Refused(text):
                self._die(EngineError(text))

    def _meet(self) -> None:
        self._suspects.met(self._connection.others)
        self._delivery.do_due()

    def _mourn(self, role: str, epoch: int, outside: bool) -> None:
        asked = self._tokenizing.requests if role == "preprocessor" else []
        names = {f"tokenize {outline(request)}": request for request in asked}  # the caller, not the ledger, repeats them
        guilty = self._delivery.take_up(role, epoch, outside, names)
        self._suspects.born(role, self._connection.others)
        if guilty is not None:
            entry = self._ledger.live(guilty)
            self._convict(names[guilty] if entry is None else entry.request)
        if role == "preprocessor":
            self._tokenizing.preprocessor_gone()
            self._end_leases(self._ledger.all())
        elif role == "fetcher":  # what was over there is answered for by nobody
            self._end_leases([entry for entry in self._ledger.all() if entry.over and needs_fetch(entry.request)])

    def _convict(self, request: Request) -> None:
        """Refuse it, and everything that is the same work."""
        self._suspects.ban(request, time.monotonic())
        for entry in self._ledger.live_ones():
            refused = self._suspects.refusal(entry.request, time.monotonic())
            if refused is not None:
                self._end(entry, refused)

    def _refuse_poison(self, request: Request) -> None:
        refused = self._suspects.refusal(request, time.monotonic())
        if refused is not None:
            raise RequestError(refused)

    def _mend(self) -> None:
        """Messages are missing; that media are free may have been among them."""
        self._end_leases([entry for entry in self._ledger.all() if entry.over])
        self._delivery.take_up_all()

    def _end_leases(self, entries: list[Entry]) -> None:
        for entry in entries:
            entry.leased = False
            self._free(entry)

    def _lose_engine(self) -> None:
        self._die(EngineError("The engine has ended."))

    def _die(self, error: EngineError) -> None:
        self._dead = error
        gone = CUT if self.draining else GONE
        for entry in self._ledger.all():
            entry.leased = False
        self.end_all(gone)
        for future in self._statuses:
            if not future.done():
                future.set_exception(error)
        self._statuses = []
        self._freed.set()

    def _raise_if_dead(self) -> None:
        if self._dead is not None:
            raise self._dead
        if self._closed:
            raise EngineError("This client is closed.")


def _whole_way(entry: Entry, finished: Finished) -> Finished:
    """The timings of the way in, which the ledger has, before those of the way out."""
    before = entry.stream.prepared.timings if entry.stream.prepared is not None else ()
    return msgspec.structs.replace(finished, timings=before + finished.timings)
