"""An answer that another engine can go on with: what its caller has of it, told with its bytes."""

import hashlib
import secrets
import time
from collections import deque
from typing import NamedTuple

import msgspec
from aiohttp import web

from ....protocol.edges.client_to_scheduler import ChoiceSoFar
from ....protocol.errors import Failure, RequestError
from ....protocol.requests.prepared import Prepared
from ...client.dispatcher import CHANGED
from ...client.stream import Choice, Stream, Update
from .writer import ResponseWriter

ELSEWHERE = frozenset({"engine_dead", "shutting_down"})
"""Codes of failures that are this engine's alone: another one goes on."""


class Given(msgspec.Struct):
    """What the caller has of the answer to one prompt; first of all how to make it again."""

    seed: int
    prompt: str
    """Digest of the prepared prompt."""
    choices: list[Choice]
    """From their beginnings, without log-probabilities."""
    scored: int = 0
    """Positions of the prompt whose log-probabilities were given."""

    def so_far(self) -> tuple[ChoiceSoFar, ...]:
        return tuple(
            ChoiceSoFar(tuple(one.token_ids), len(one.text), one.finish_reason is not None)
            for one in self.choices
        )


class SoFar(msgspec.Struct):
    """Of a whole call."""

    id: str
    """What names it in the answer."""
    created: int
    """Unix seconds."""
    name: str
    """What its API draws itself, if it does."""
    sources: dict[int, Given]
    """By the number of the prompt, of those whose answers have begun."""

    def add(self, news: "SoFar") -> None:
        """Merge what came after."""
        self.id, self.created, self.name = news.id, news.created, news.name
        for number, grown in news.sources.items():
            known = self.sources.setdefault(number, grown)
            if known is grown:
                continue
            known.scored += grown.scored
            for choice in grown.choices:
                mine = known.choices[choice.index]
                mine.add(choice)
                mine.scored += choice.scored


class Mark(NamedTuple):
    """Up to `end` of the answer's bytes, a caller has so much more."""

    end: int
    news: SoFar


class Carried:
    """One call of which each piece is told together with what it adds. Set on a request by who
    serves this engine among others."""

    def __init__(self, so_far: SoFar | None = None) -> None:
        self.so_far = so_far or SoFar(secrets.token_hex(12), int(time.time()), "", {})
        self.marks: deque[Mark] = deque()
        """Of pieces, each noted before it is written."""
        self.lost = False
        """It has ended with this engine, and without a word to the caller."""
        self._written = 0
        self._begun: set[int] = set()

    def given(self, number: int) -> Given | None:
        """Of a prompt's answer, by another engine."""
        return self.so_far.sources.get(number)

    def begin(
        self, number: int, stream: Stream, writer: ResponseWriter, n: int, first: bytes
    ) -> bytes:
        """The first events of an answer: none of what was given, which the writer reads again.
        Raises RequestError if the media of its prompt have changed."""
        assert stream.prepared is not None
        digest = _digest(stream.prepared)
        given = self.given(number)
        if given is None:
            choices = [Choice(index) for index in range(n)]
            seed = stream.prepared.sampling.seed
            assert seed is not None
            self.so_far.sources[number] = Given(seed, digest, choices)
            return first
        if given.prompt != digest:
            raise RequestError(CHANGED)
        self._begun.add(number)
        begun = [one for one in given.choices if one.token_ids or one.text or one.finish_reason]
        writer.events(number, Update(begun))
        return b""

    def note(self, number: int, update: Update, size: int) -> None:
        """These bytes are about to be written, for this update."""
        told = self.so_far.sources[number]
        grown = [_told(choice) for choice in update.choices]
        if number not in self._begun:
            self._begun.add(number)
            choices = list(told.choices)
            for choice in grown:
                choices[choice.index] = choice
            grown = choices
        news = Given(told.seed, told.prompt, grown, len(update.prompt_logprobs or ()))
        self._mark(size, {number: news})

    def end(self, size: int) -> None:
        """The last bytes are about to be written."""
        self._mark(size, {})

    def _mark(self, size: int, sources: dict[int, Given]) -> None:
        self._written += size
        self.marks.append(
            Mark(self._written, msgspec.structs.replace(self.so_far, sources=sources))
        )

    def leave(self, failure: Failure) -> bool:
        """Whether the caller is to hear nothing of this failure: another engine goes on."""
        self.lost = failure.code in ELSEWHERE
        return self.lost


def created_of(request: web.Request) -> int:
    """Unix seconds in which a call began, wherever that was."""
    carried = request.get(CARRIED)
    return int(time.time()) if carried is None else carried.so_far.created


def name_of(request: web.Request, drawn: str) -> str:
    """What names an answer: what was drawn for it, wherever that was."""
    carried = request.get(CARRIED)
    if carried is None:
        return drawn
    so_far: SoFar = carried.so_far
    so_far.name = so_far.name or drawn
    return so_far.name


def _told(choice: Choice) -> Choice:
    """Of its log-probabilities, which are many, only how far they have come in the text."""
    scored = sum(len(position.chosen.decoded_token) for position in choice.logprobs)
    return msgspec.structs.replace(choice, logprobs=[], scored=scored)


def _digest(prepared: Prepared) -> str:
    """Of what another engine would have to make of the same request."""
    items = [
        (item.modality, item.rows, "" if prepared.era else item.key) for item in prepared.items
    ]
    body = msgspec.json.encode((prepared.token_ids, items))
    return hashlib.blake2b(body, digest_size=16).hexdigest()


CARRIED: web.RequestKey[Carried] = web.RequestKey("carried", Carried)
"""Set on a request whose answer can go on elsewhere."""
