"""Takes what the actors say to the requests it is about; the one place where a request ends."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from ...protocol.edges.client_to_scheduler import Ack
from ...protocol.edges.control import Drained
from ...protocol.edges.detokenizer_to_client import Delta, Deltas, Finished
from ...protocol.edges.encoder_cache_to_client import Pinned
from ...protocol.edges.preprocessor_to_client import PreparedCopy, Previewed, Tokenized
from ...protocol.edges.scheduler_to_client import MediaLost
from ...protocol.edges.scheduler_to_detokenizer import PromptLogprobs, Usage, Vectors
from ...protocol.edges.shared import MediaRead, RequestFailed
from ...protocol.errors import Failure, RequestError
from .admission import Admission
from .connection import Connection
from .delivery import Delivery
from .ledger import Early, Hole, Ledger, LedgerEntry
from .media_store import MediaStore
from .observer import Observer
from .questions import RESTARTED, Questions
from .stream import MOST_UNREAD

CHANGED = Failure(
    "restarted",
    "The media of this request had to be read again and have changed; send it again.",
    code="media_changed",
)
END_SECONDS = 0.02
"""For which the end of a request that its actors have told of themselves waits for others: five
processes wake up for it."""
UNREAD = Failure(
    "cancelled",
    "The answer was not read: too many log-probabilities have waited for that.",
    code="not_read",
)


class Dispatcher:
    """Takes each message to its ledger entry; gives back what a request held when it is over."""

    def __init__(
        self,
        connection: Connection,
        ledger: Ledger,
        delivery: Delivery,
        questions: Questions,
        admission: Admission,
        media: MediaStore,
    ) -> None:
        self._connection, self._ledger, self._delivery = connection, ledger, delivery
        self._questions, self._admission, self._media = questions, admission, media
        self._ending: list[str] = []
        """Requests that are over, of which the actors have not been told yet."""
        self.observer: Observer | None = None
        """Who watches the engine, if anybody does."""

    def hear(self, message: Any) -> None:
        match message:
            case Deltas(deltas):
                for delta in deltas:
                    self._hear_of(delta)
            case Finished() | PromptLogprobs() | Vectors():
                self._hear_of(message)
            case PreparedCopy():
                self._prepared(message)
            case RequestFailed(id, attempt, failure):
                self.free(self._ledger.end_lease(id, attempt))
                self._fail(id, attempt, failure)
            case MediaRead(id, attempt):
                self.free(self._ledger.end_lease(id, attempt))
            case MediaLost(id, attempt):
                entry = self._ledger.live(id, attempt)
                if entry is not None and not self._delivery.media_lost(entry):
                    self.end(entry, RESTARTED)
            case Previewed(id, attempt):
                self.free(self._ledger.end_lease(id, attempt))
                entry = self._ledger.live(id, attempt)
                if entry is not None:
                    self._previewed(entry, message)
            case Pinned(id, failure):
                self._questions.on_answer(id, failure)
            case Tokenized(id):
                self._questions.on_answer(id, message)

    def _prepared(self, copy: PreparedCopy) -> None:
        prepared = copy.prepared
        self._delivery.passed(prepared.id, copy.submitted_to)
        self.free(self._ledger.end_lease(prepared.id, prepared.attempt))
        entry = self._ledger.live(prepared.id, prepared.attempt)
        if entry is None:
            return
        if not self._delivery.prepared(entry, prepared, copy.submitted_to):
            self.end(entry, CHANGED)
            return
        entry.stream.prompt_text, entry.stream.sources = copy.text, copy.sources
        for early in entry.take_early():
            self._hear_of(early)

    def _previewed(self, entry: LedgerEntry, cost: Previewed) -> None:
        entry.stream.previewed = cost
        usage = Usage(cost.prompt_tokens, 0, cost.media_tokens, 0, cost.media_options)
        self.end(entry, Finished(cost.id, cost.attempt, usage, 0, cost.timings))

    def _hear_of(self, message: Early) -> None:
        """From the detokenizer. What overtakes the prepared prompt waits in the entry."""
        entry = self._ledger.live(message.id, message.attempt)
        if entry is None:
            return
        if entry.stream.prepared is None:
            entry.early.append(message)
            return
        match message:
            case Delta():
                try:
                    new = entry.accept(message)
                except Hole:
                    self._delivery.resume_anew(entry)
                    return
                if new is not None:
                    entry.stream.push(new)
                    if entry.stream.unread > MOST_UNREAD:
                        self.end(entry, UNREAD)
            case PromptLogprobs(start=start, entries=entries):
                entry.stream.push_prompt(start, entries)
            case Vectors():
                entry.heard = True
                entry.stream.push_vectors(message)
            case Finished():
                self.end(entry, _whole_way(entry, message), at_once=False)

    def _fail(self, id: str, attempt: int, failure: Failure) -> None:
        self._questions.on_answer(id, RequestError(failure))
        entry = self._ledger.live(id, attempt)
        if entry is not None:
            self.end(entry, failure, at_once=False)

    # ends

    def end(self, entry: LedgerEntry, outcome: Finished | Failure, at_once: bool = True) -> None:
        """Exactly one terminal message for the caller; an `End` for every actor. `at_once`: they
        may be working on it."""
        entry.over = True
        if entry.expiry is not None:
            entry.expiry.cancel()
        if entry.due == "send":
            entry.leased = False  # no actor knows of this attempt, and an earlier one is void
        if isinstance(outcome, Finished):
            entry.stream.finish(outcome)
            self._connection.send("scheduler", Ack((entry.request.id,)))
        else:
            entry.stream.fail(outcome)
        if self.observer is not None:
            self.observer.ended(entry, outcome)
        self._admission.give(entry.cost)
        self.tell_if_drained()
        loop = asyncio.get_running_loop()
        self._ending.append(entry.request.id)
        if at_once:
            loop.call_soon(self.flush)
        elif len(self._ending) == 1:
            loop.call_later(END_SECONDS, self.flush)
        self.free(entry)
        self._delivery.ended(entry.request.id)

    def end_all(self, failure: Failure) -> None:
        """End every request that is under way."""
        for entry in self._ledger.live_ones():
            self.end(entry, failure)

    def free(self, entry: LedgerEntry | None) -> None:
        """Free its media if it is over and nothing reads them."""
        if entry is not None:
            self._media.drop_bytes(*self._ledger.sweep(entry))

    def end_leases(self, entries: Iterable[LedgerEntry]) -> None:
        """The process that might have read their media is gone."""
        for entry in entries:
            entry.leased = False
            self.free(entry)

    def flush(self) -> None:
        """Tell the actors which requests are over."""
        ids, self._ending = tuple(self._ending), []
        if ids:
            self._connection.end(ids)

    def tell_of_change(self) -> None:
        """A process has died or is there again."""
        if self.observer is not None:
            self.observer.changed()

    def tell_if_drained(self) -> None:
        """Tell the director if nothing new is accepted and nothing is under way."""
        if self._admission.closed and not self._ledger.live_ones():
            self._connection.link.send(Drained(self._connection.role, self._connection.epoch))


def _whole_way(entry: LedgerEntry, finished: Finished) -> Finished:
    """With the timings of the way in, which came with the prepared prompt, before those of the way
    out."""
    before = entry.stream.prepared.timings if entry.stream.prepared is not None else ()
    return msgspec.structs.replace(finished, timings=before + finished.timings)
