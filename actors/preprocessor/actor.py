"""The preprocessor's shell: messages in, messages out. Imports neither torch nor transformers nor a decoder.

A request's text is rendered and tokenised here, at once; its items go to the decode workers, or come from the store of
features, or join an item that is being decoded for somebody else. When all are there the prepared request leaves.
"""

import asyncio
import itertools
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio.to_thread
import msgspec

from ...protocol.blobs import BlobError, BlobReader
from ...protocol.config import PreprocessorConfig
from ...protocol.edges.client_to_preprocessor import Prepare, Tokenize
from ...protocol.edges.control import Kill, Peer
from ...protocol.edges.decode_worker_to_preprocessor import Decoded, DecodeFailed
from ...protocol.edges.encoder_cache_to_preprocessor import FeaturesRead
from ...protocol.edges.fetcher_to_preprocessor import Fetched
from ...protocol.edges.preprocessor_to_client import MediaDropped, PreparedCopy, PrepareFailed, Tokenized
from ...protocol.edges.preprocessor_to_decode_worker import Decode, FreeFeatures
from ...protocol.edges.preprocessor_to_encoder_cache import Features
from ...protocol.edges.preprocessor_to_fetcher import MediaRead
from ...protocol.edges.preprocessor_to_scheduler import Submit
from ...protocol.errors import Failure, RequestError, refuse
from ...protocol.prepared import Timing
from ...protocol.request import Embeds, MediaItem, Request
from ...protocol.topology import kind_of
from ..actor import Actor, run
from ..launch import Launch
from .admission import Admission
from .assembly import assemble, check_length
from .checkpoint import read_checkpoint
from .families.loading import load_family
from .identity import blob_of, content_digest, item_key, key_salt
from .pool import MAX_DEATHS, Flight, Pool
from .prompt import PromptRenderer
from .store import Bindings, Entry, FeatureStore
from .ticket import Ticket, Waiter
from .tokens import TextTokenizer

log = logging.getLogger(__name__)
HASH_INLINE = 1 << 20
"""Bytes that are hashed at once (0.3 ms); more goes to a thread."""
CUT_SECONDS = 1.0
"""How long a decode that nobody waits for any more may go on."""
TOMBSTONES = 1 << 16
NO_ROOM = "no_shared_memory"


class Preprocessor(Actor):
    """Owns features and processor cache; the workers are its hands."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self._reader = BlobReader(launch.directory)
        self._tickets: dict[str, Ticket] = {}
        self._tombstones: OrderedDict[str, None] = OrderedDict()
        self._pool: Pool[Waiter] = Pool()
        self._bindings = Bindings()
        self._epochs: dict[str, int] = {}
        self._timers: dict[Flight[Waiter], asyncio.TimerHandle] = {}
        self._jobs = itertools.count(1)
        self._count = {"decoded": 0, "decode_hits": 0, "prepared": 0, "failed": 0, "worker_kills": 0, "worker_deaths": 0}

    async def on_start(self, config: bytes) -> dict[str, int]:
        self.config = msgspec.json.decode(config, type=PreprocessorConfig)
        checkpoint = read_checkpoint(self.config.model)
        tokenizer = TextTokenizer(checkpoint.tokenizer_file, checkpoint.tokenizer)
        self._family = load_family(checkpoint, tokenizer)
        self._admission = Admission(self.config, self._family)
        self._renderer = PromptRenderer(
            checkpoint, tokenizer, self._family.placeholders, self.config.chat_template, self.config.trust_request_template
        )
        self._store = FeatureStore(self.config.cache_bytes)
        return {}

    async def on_stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._reader.close()

    def counters(self) -> dict[str, float]:
        return {
            **self._count,
            "cache_bytes": self._store.bytes,
            "cache_items": len(self._store),
            "decodes_waiting": self._pool.waiting,
            "decodes_running": self._pool.running,
        }

    # messages

    def on_message(self, sender: str, message: Any) -> None:
        match message:
            case Prepare(request):
                self._accept(request, False, ())
            case Fetched(request, timings):
                self._accept(request, True, timings)
            case Tokenize(request):
                self._tokenize(request)
            case Decoded():
                self._decoded(sender, message)
            case DecodeFailed(job, failure):
                self._decode_failed(sender, job, failure)
            case FeaturesRead(keys):
                for key in keys:
                    self._store.returned(key)
                self._evict()

    def on_end(self, ids: tuple[str, ...]) -> None:
        for request_id in ids:
            self._tombstones[request_id] = None
            ticket = self._tickets.get(request_id)
            if ticket is not None:
                self._drop(ticket)
        while len(self._tombstones) > TOMBSTONES:
            self._tombstones.popitem(last=False)

    def on_peer(self, role: str, peer: Peer) -> None:
        if kind_of(role) == "decode-worker":
            self._epochs[role] = peer.epoch
            self._pool.add_worker(role)
            self._pump()

    def on_gone(self, role: str, epoch: int) -> None:
        self._reader.forget(f"{role}.{epoch}")
        match kind_of(role):
            case "decode-worker" if self._epochs.get(role) == epoch:
                self._worker_gone(role)
            case "encoder-cache":
                self._store.reader_gone()
                self._evict()
            case "client":
                for ticket in [t for t in self._tickets.values() if t.request.client == role]:
                    self._drop(ticket)

    # requests

    def _accept(self, request: Request, fetched: bool, timings: tuple[Timing, ...]) -> None:
        known = self._tickets.get(request.id)
        if request.id in self._tombstones or (known is not None and known.request.attempt >= request.attempt):
            self._give_back(request, fetched)
            return
        if known is not None:
            self._drop(known)
        start = time.time()
        try:
            self._admission.check(request)
            rendered = self._renderer.render(request.prompt, request.media)
            check_length(len(rendered.token_ids), self.config.max_model_len)
        except Exception as error:  # by structure: one request's fault ends one request
            self._refuse(request, fetched, _failure(error))
            return
        ticket = Ticket(request, fetched, rendered, [*timings, Timing("preprocess", start, time.time())])
        self._tickets[request.id] = ticket
        weight = sum(blob_of(item.source).nbytes for item in request.media if item.source is not None)
        if weight > HASH_INLINE:
            self.tasks.start_soon(self._hash_in_thread, ticket)
        else:
            self._guarded(ticket, lambda: self._want_all(ticket, self._digests(request.media)))

    async def _hash_in_thread(self, ticket: Ticket) -> None:
        try:
            digests = await anyio.to_thread.run_sync(self._digests, ticket.request.media)
        except Exception as error:
            self._fail(ticket, _failure(error))
            return
        if not ticket.over:
            self._guarded(ticket, lambda: self._want_all(ticket, digests))

    def _digests(self, media: tuple[MediaItem, ...]) -> list[str | None]:
        """Of each item's bytes; None where there are none."""
        digests: list[str | None] = []
        for item in media:
            if item.source is None:
                digests.append(None)
                continue
            try:
                with self._reader.view(blob_of(item.source)) as view:
                    digests.append(content_digest(self.config.hasher, item.source, view))
            except BlobError as error:
                text = "The item's bytes went with a process that was restarted; send the request again."
                raise refuse("restarted", text, item.where) from error
        return digests

    def _want_all(self, ticket: Ticket, digests: list[str | None]) -> None:
        ticket.digests = digests
        ticket.entries = [None] * len(digests)
        for index in range(len(digests)):
            self._want(ticket, index)
        self._pump()
        if ticket.complete:
            self._submit(ticket)

    def _want(self, ticket: Ticket, index: int) -> None:
        """Pin the item's features, or wait for the flight that brings them. Raises RequestError."""
        request, item = ticket.request, ticket.request.media[index]
        digest = self._identify(request, item, ticket.digests[index], index)
        processor, io = self._admission.options(request, item.modality)
        salt = key_salt(request.tenant, self.config.model.fingerprint)
        key = item_key(digest, item.modality, processor, io, salt)
        entry = self._store.get(key)
        if entry is not None:
            self._count["decode_hits"] += 1
            entry.pins += 1
            ticket.entries[index] = entry
            return
        if item.source is None:
            raise _cache_miss(request, index)
        flight = self._pool.flight(key)
        if flight is not None:
            self._count["decode_hits"] += 1
        else:
            job = Decode(next(self._jobs), item, processor, io, salt)
            flight = Flight(key, request.id, job, isinstance(item.source, Embeds))
            self._pool.enqueue(flight)
        flight.waiters.append(Waiter(ticket, index))

    def _identify(self, request: Request, item: MediaItem, digest: str | None, index: int) -> str:
        """The item's digest: of its bytes, or the one that its id is bound to."""
        if item.uuid is None:
            assert digest is not None
            return digest
        if digest is None:
            known = self._bindings.get(request.tenant, item.uuid)
            if known is None:
                raise _cache_miss(request, index)
            return known
        if not self._bindings.bind(request.tenant, item.uuid, digest):
            raise refuse("conflict", f"The id {item.uuid!r} names other content already.", item.where, "uuid_conflict")
        return digest

    def _submit(self, ticket: Ticket) -> None:
        entries = [entry for entry in ticket.entries if entry is not None]
        request = ticket.request
        try:
            prepared = assemble(
                request, ticket.rendered, entries, self._family, self.config.max_model_len, tuple(ticket.timings)
            )
        except Exception as error:
            self._fail(ticket, _failure(error))
            return
        modalities = {entry.key: item.modality for entry, item in zip(entries, request.media, strict=True)}
        for entry in {entry.key: entry for entry in entries}.values():  # before Submit: Need must not find nothing
            decoded = entry.decoded
            features = Features(entry.key, modalities[entry.key], decoded.rows, decoded.tensors, entry.ready)
            if self.send("encoder-cache", features):
                entry.leases += 1
        self.send("scheduler", Submit(prepared))
        self.send(request.client, PreparedCopy(prepared))
        self._count["prepared"] += 1
        self._release(ticket)
        if ticket.fetched:
            self.send("fetcher", MediaRead(request.id, request.attempt))

    def _tokenize(self, request: Request) -> None:
        try:
            self._admission.check(request)
            rendered = self._renderer.render(request.prompt, request.media)
        except Exception as error:
            self.send(request.client, PrepareFailed(request.id, request.attempt, _failure(error)))
            return
        self.send(request.client, Tokenized(request.id, tuple(rendered.token_ids), rendered.text))

    # ends

    def _guarded(self, ticket: Ticket, step: Any) -> None:
        try:
            step()
        except Exception as error:
            self._fail(ticket, _failure(error))

    def _fail(self, ticket: Ticket, failure: Failure) -> None:
        if not ticket.over:
            self._release(ticket)
            self._refuse(ticket.request, ticket.fetched, failure)

    def _refuse(self, request: Request, fetched: bool, failure: Failure) -> None:
        self._count["failed"] += 1
        self.send(request.client, PrepareFailed(request.id, request.attempt, failure))
        if fetched:
            self.send("fetcher", MediaRead(request.id, request.attempt))

    def _drop(self, ticket: Ticket) -> None:
        """Nobody waits for it any more."""
        self._release(ticket)
        self._give_back(ticket.request, ticket.fetched)

    def _give_back(self, request: Request, fetched: bool) -> None:
        if request.client in self.peers:
            self.send(request.client, MediaDropped(request.id, request.attempt))
        if fetched:
            self.send("fetcher", MediaRead(request.id, request.attempt))

    def _release(self, ticket: Ticket) -> None:
        """Take back its pins and its places in flights. Its bytes may go at once: a worker that is still copying them files
        what it gets under the digest of what it got, and a flight that others wait for is then flown again from theirs."""
        ticket.over = True
        if self._tickets.get(ticket.request.id) is ticket:
            del self._tickets[ticket.request.id]
        for entry in ticket.entries:
            if entry is not None:
                entry.pins -= 1
        for flight in self._pool.flights() if ticket.request.media else ():
            before = len(flight.waiters)
            flight.waiters = [waiter for waiter in flight.waiters if waiter.ticket is not ticket]
            if len(flight.waiters) < before:
                self._fewer_waiters(flight)
        self._evict()

    def _fewer_waiters(self, flight: Flight[Waiter]) -> None:
        if flight.waiters:
            if any(waiter.item is flight.decode.item for waiter in flight.waiters):
                return  # whose bytes are read still waits
            if flight.worker is None:
                self._repoint(flight)
            else:
                flight.stale = True
        elif not self._pool.drop(flight):
            self._later(CUT_SECONDS, self._cut, flight)

    # decoding

    def _pump(self) -> None:
        for flight in self._pool.start():
            assert flight.worker is not None
            self._timers[flight] = self._later(self.config.media.decode_seconds, self._overrun, flight)
            self.send(flight.worker, flight.decode)

    def _decoded(self, sender: str, message: Decoded) -> None:
        flight = self._landed(sender, message.job)
        if flight is None or flight.over or message.key != flight.key:
            self.send(sender, FreeFeatures((message.job,)))
            if flight is not None and not flight.over:
                self._again(flight, Failure("internal", "The item's bytes changed while they were read."))
        else:
            self._count["decoded"] += 1
            self._pool.finish(flight)
            entry = Entry(message, sender, flight.ready)
            self._store.add(entry)
            for waiter in flight.waiters:
                entry.pins += 1
                waiter.ticket.entries[waiter.index] = entry
            for ticket in {waiter.ticket: None for waiter in flight.waiters}:
                ticket.timings.extend(message.timings)
                if ticket.complete:
                    self._submit(ticket)
            self._evict()
        self._pump()

    def _decode_failed(self, sender: str, job: int, failure: Failure) -> None:
        flight = self._landed(sender, job)
        if flight is not None and not flight.over:
            if flight.stale or (failure.code == NO_ROOM and self._make_room(sender)):
                self._again(flight, failure)
            else:
                self._end_flight(flight, failure)
        self._pump()

    def _landed(self, sender: str, job: int) -> Flight[Waiter] | None:
        """The flight that this answers; its worker is idle again."""
        flight = self._pool.by_job(sender, job)
        if flight is not None:
            self._stop_timer(flight)
            self._pool.release(flight)
        return flight

    def _again(self, flight: Flight[Waiter], failure: Failure) -> None:
        """Fly once more, from the bytes of somebody who still waits."""
        flight.retries += 1
        if not flight.waiters:
            self._pool.finish(flight)
        elif flight.retries > 1:
            self._end_flight(flight, failure)
        else:
            self._repoint(flight)
            self._pool.enqueue(flight, first=True)

    def _repoint(self, flight: Flight[Waiter]) -> None:
        flight.stale = False
        flight.decode = msgspec.structs.replace(flight.decode, job=next(self._jobs), item=flight.waiters[0].item)

    def _end_flight(self, flight: Flight[Waiter], failure: Failure) -> None:
        """Every request that waits for it ends; each is told its own name for the item."""
        own_part = failure.part is not None and failure.part != flight.decode.item.where
        self._pool.finish(flight)
        flight.over = True
        waiters, flight.waiters = flight.waiters, []
        for waiter in waiters:
            part = failure.part if own_part else waiter.item.where
            self._fail(waiter.ticket, msgspec.structs.replace(failure, part=part))

    def _overrun(self, flight: Flight[Waiter]) -> None:
        limit = self.config.media.decode_seconds
        self._kill(flight)
        self._end_flight(flight, Failure("unprocessable_media", f"The item takes longer than {limit:g} s to decode."))

    def _cut(self, flight: Flight[Waiter]) -> None:
        if not flight.waiters and flight.worker is not None and not flight.over:
            self._kill(flight)
            self._end_flight(flight, Failure("cancelled", "Nobody waits for the item."))

    def _kill(self, flight: Flight[Waiter]) -> None:
        """The worker stays busy in the books until the director says that it is gone."""
        assert flight.worker is not None
        self._count["worker_kills"] += 1
        self._pool.doom(flight)
        self.link.send(Kill(flight.worker, self._epochs[flight.worker]))

    def _later(self, seconds: float, step: Callable[[Flight[Waiter]], None], flight: Flight[Waiter]) -> asyncio.TimerHandle:
        """A timer whose exceptions end the process like a handler's."""
        return asyncio.get_running_loop().call_later(seconds, self._guard, lambda: step(flight))

    def _stop_timer(self, flight: Flight[Waiter]) -> None:
        timer = self._timers.pop(flight, None)
        if timer is not None:
            timer.cancel()

    def _worker_gone(self, role: str) -> None:
        self._count["worker_deaths"] += 1
        flight = self._pool.remove_worker(role)
        lost = set(self._store.worker_gone(role))
        if flight is not None:
            self._stop_timer(flight)
            if not flight.over and flight.waiters and flight.deaths < MAX_DEATHS:
                self._repoint(flight)
                self._pool.enqueue(flight, first=True)
            elif not flight.over:
                text = f"The {flight.decode.item.modality} cannot be decoded: it ended the decoder twice."
                self._end_flight(flight, Failure("unprocessable_media", text))
        for ticket in list(self._tickets.values()):
            for index, entry in enumerate(ticket.entries):
                if entry in lost and not ticket.over:
                    ticket.entries[index] = None
                    self._guarded(ticket, partial(self._want, ticket, index))
        self._pump()

    # the store

    def _evict(self) -> None:
        self._free(self._store.evict())

    def _make_room(self, worker: str) -> bool:
        gone = self._store.evict(worker)
        self._free(gone)
        return bool(gone)

    def _free(self, entries: list[Entry]) -> None:
        by_worker: dict[str, list[int]] = {}
        for entry in entries:
            by_worker.setdefault(entry.worker, []).append(entry.decoded.job)
        for worker, jobs in by_worker.items():
            self.send(worker, FreeFeatures(tuple(jobs)))


def _cache_miss(request: Request, index: int) -> RequestError:
    item = request.media[index]
    nth = sum(1 for earlier in request.media[:index] if earlier.modality == item.modality)
    return refuse(
        "invalid_request", f"Cache miss for {item.modality} at index {nth} but data is not provided.", item.where, "cache_miss"
    )


def _failure(error: Exception) -> Failure:
    if isinstance(error, RequestError):
        return error.failure
    log.exception("a request could not be prepared", exc_info=error)
    return Failure("internal", "The request could not be prepared.")


def main(launch: Launch) -> None:
    run(Preprocessor(launch))
