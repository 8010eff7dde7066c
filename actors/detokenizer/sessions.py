"""All requests in the detokenizer. Pure: messages in, (role, message) pairs out."""

import logging
from collections import defaultdict
from collections.abc import Iterable

from ...protocol.edges.detokenizer_to_client import Delta, Deltas, Finished
from ...protocol.edges.detokenizer_to_scheduler import Stopped
from ...protocol.edges.scheduler_to_detokenizer import (
    Close,
    Open,
    Output,
    Outputs,
    PromptLogprobs,
    SchedulerToDetokenizer,
    Vectors,
)
from ...protocol.edges.shared import RequestFailed
from ...protocol.errors import Failure
from ...protocol.topology import SCHEDULER
from ...protocol.wire import Message
from ..kernel.tombstones import Tombstones
from .choice import Choice, named
from .vocabulary import Vocabulary

log = logging.getLogger(__name__)
Replies = list[tuple[str, Message]]
"""(role, message), in the order in which they are to be sent."""


class Session:
    """One attempt of one request."""

    def __init__(
        self, opened: Open, vocabulary: Vocabulary, eos_token_ids: tuple[int, ...]
    ) -> None:
        self.id = opened.id
        self.attempt = opened.attempt
        self.client = opened.client
        n = opened.sampling.n if opened.want == "token" else 0
        released = opened.released + (0,) * (n - len(opened.released))
        sampling, prompt = opened.sampling, opened.prompt_token_ids
        self.choices = [
            Choice(vocabulary, sampling, prompt, eos_token_ids, had) for had in released[:n]
        ]
        self.close: Close | None = None
        self.answered = opened.want == "token"
        """The vectors that it wants, if it does, have come."""

    @property
    def ended(self) -> bool:
        return self.answered and all(choice.ended for choice in self.choices)


class Sessions:
    """Sessions by request id; the higher attempt replaces the lower, the lower is dropped."""

    def __init__(self, vocabulary: Vocabulary, eos_token_ids: tuple[int, ...]) -> None:
        self._vocabulary = vocabulary
        self._eos = eos_token_ids
        self._sessions: dict[str, Session] = {}
        self._over = Tombstones()
        self.tokens = 0
        """Delivered, over all requests."""
        self.stopped = 0
        """Choices ended by a stop string."""
        self.finished = 0
        self.failed = 0
        self.orphans = 0
        """Outputs of requests that are not open here."""

    def __len__(self) -> int:
        return len(self._sessions)

    def handle(self, message: SchedulerToDetokenizer) -> Replies:
        match message:
            case Outputs():
                return self._advance_all(message.outputs)
            case Open():
                self._open(message)
                return []
        session = self._find(message.id, message.attempt)
        if session is None:
            return []
        match message:
            case PromptLogprobs():
                entries = tuple(named(self._vocabulary, entry) for entry in message.entries)
                reply = PromptLogprobs(session.id, session.attempt, message.start, entries)
                return [(session.client, reply)]
            case Vectors():  # numbers for the client: nothing is made of them here
                session.answered = True
                return [(session.client, message)]
            case Close():
                return [self._close(session, message)]

    def end(self, ids: tuple[str, ...]) -> None:
        """Forget them, and whatever comes for them later."""
        self._over.add(ids)
        for id in ids:
            self._sessions.pop(id, None)

    def forget_client(self, client: str) -> None:
        """Its process is gone: nobody reads these answers."""
        self.end(tuple(s.id for s in self._sessions.values() if s.client == client))

    def forget_all(self) -> None:
        """The scheduler is gone; what goes on comes again, opened under a higher attempt."""
        self._sessions.clear()

    def _find(self, id: str, attempt: int) -> Session | None:
        session = self._sessions.get(id)
        return session if session is not None and session.attempt == attempt else None

    def _open(self, message: Open) -> None:
        """Idempotent: the same attempt again changes nothing."""
        known = self._sessions.get(message.id)
        if message.id in self._over or (known is not None and known.attempt >= message.attempt):
            return
        self._sessions[message.id] = Session(message, self._vocabulary, self._eos)

    def _advance_all(self, outputs: Iterable[Output]) -> Replies:
        deltas: defaultdict[str, list[Delta]] = defaultdict(list)
        others: Replies = []
        for output in outputs:
            session = self._find(output.id, output.attempt)
            if session is None:
                self.orphans += 1
                continue
            try:
                delta = self._advance(session, output, others)
            except Exception:
                # One request's fault ends one request; the rest of this step goes on.
                log.exception("request %s cannot be detokenized", session.id)
                others.append(self._fail(session))
                continue
            if delta is not None:
                deltas[session.client].append(delta)
        texts: Replies = [(client, Deltas(tuple(grown))) for client, grown in deltas.items()]
        return texts + others

    def _advance(self, session: Session, output: Output, others: Replies) -> Delta | None:
        choice = session.choices[output.choice]
        before, ended = choice.tokens, choice.ended
        delta = choice.advance(output)
        self.tokens += choice.tokens - before
        if choice.ended and not ended and choice.cut:
            self.stopped += 1
            others.append(
                (SCHEDULER, Stopped(session.id, session.attempt, output.choice, choice.tokens))
            )
        return delta

    def _close(self, session: Session, message: Close) -> tuple[str, Message]:
        if not session.ended:
            log.error("request %s was closed with a choice that has not ended", session.id)
            return self._fail(session)
        self.finished += 1
        del self._sessions[session.id]
        tokens = sum(choice.tokens for choice in session.choices)
        thought = [n for choice in session.choices if (n := choice.reasoning_tokens) is not None]
        return session.client, Finished(
            session.id,
            session.attempt,
            message.usage,
            tokens,
            message.timings,
            sum(thought) if thought else None,
        )

    def _fail(self, session: Session) -> tuple[str, Message]:
        """This attempt alone: its client may have begun another, and ends the request if not."""
        self.failed += 1
        del self._sessions[session.id]
        failure = Failure("internal", "The answer could not be turned into text.")
        return session.client, RequestFailed(session.id, session.attempt, failure)
