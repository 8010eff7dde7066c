"""Requests as simulated callers send them, and what each of them saw."""

import math
import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

from thespis.frontends.ray.keys import LikeKeys
from thespis.protocol.requests.prepared import Item, Prepared, Span
from thespis.protocol.requests.sampling import SamplingParams

PLACEHOLDER = 7
PIXELS_PER_ROW = 28 * 28
END = 1 << 30
"""A token that no answer has: answers are as long as they were asked to be."""
UNLIKE = LikeKeys()


@dataclass(slots=True)
class Picture:
    key: str
    pixels: float
    """Thousands."""
    rows: int
    nbytes: int
    """As it is sent."""


@dataclass(slots=True, eq=False)
class Ask:
    """One request of one caller."""

    id: str
    at: float
    """When it is sent."""
    text: tuple[int, ...]
    """Token ids beside its pictures."""
    pictures: tuple[Picture, ...]
    answer: int
    """Tokens."""
    head: str = ""
    """Name of the beginning that its prompt shares with others."""
    head_tokens: int = 0
    """Of `text`: they stand before the pictures."""
    likes: LikeKeys = UNLIKE
    """As its router sees them, where that looks at them."""
    attempt: int = 0
    replica: int = -1
    went: int = -1
    """The replica that was the first to have it."""
    router: int = -1
    """Who sent it there."""
    heard_last: float = 0.0
    """When what was told last reaches its caller."""
    got: "array[int]" = field(default_factory=lambda: array("i"))
    first: float | None = None
    last: float | None = None
    gaps: "array[float]" = field(default_factory=lambda: array("f"))
    refused: int = 0
    """How often a replica had no room for it."""
    resumed: int = 0
    ended: float | None = None

    def prepared(self) -> Prepared:
        items: list[Item] = []
        start = before = self.head_tokens
        for picture in self.pictures:
            span = Span(start, picture.rows)
            items.append(Item(picture.key, "image", picture.rows, (span,)))
            start += picture.rows
        return Prepared(
            id=self.id,
            attempt=self.attempt,
            client="client-simulated.1",
            tenant="",
            arrival=self.at,
            priority=0,
            token_ids=(
                *self.text[:before],
                *(PLACEHOLDER,) * (start - before),
                *self.text[before:],
            ),
            items=tuple(items),
            positions=None,
            sampling=SamplingParams(max_tokens=self.answer, seed=0),
            eos_token_ids=(END,),
        )

    def heard(self, position: int, token_ids: tuple[int, ...], now: float) -> None:
        """Tokens from this one on come at this moment, of which its ledger knows some already; the
        others share the gap before them."""
        token_ids = token_ids[len(self.got) - position :]
        if not token_ids:
            return
        tokens = len(token_ids)
        if self.first is None:
            self.first = now
            self.gaps.extend([0.0] * (tokens - 1))
        else:
            assert self.last is not None
            self.gaps.extend([(now - self.last) / tokens] * tokens)
        self.last = now
        self.got.extend(token_ids)

    def pleased(self, patience: float) -> bool:
        """Its answer was whole, began in time and never stood still for longer."""
        return (
            self.ended is not None
            and self.first is not None
            and len(self.got) >= self.answer
            and self.first - self.at <= patience
            and max(self.gaps, default=0.0) <= patience
        )


class Workload(msgspec.Struct, frozen=True):
    """Arrivals without memory; everything else has a heavy tail."""

    rate: float
    """Requests a second."""
    media: float = 0.4
    """The part of the requests that bring pictures."""
    more_pictures: float = 0.3
    """The chance of each further picture of such a request."""
    repeated: float = 0.6
    """The part of the pictures that others have, too, the popular ones often."""
    known_pictures: int = 100_000
    heads: int = 5000
    """Beginnings of prompts (system prompts, conversations) that requests share, by popularity."""
    headed: float = 0.7
    """The part of the requests that begin with one."""
    tail: float = 1.3
    """Of Pareto's law for pixels: the largest pictures have most of them."""
    answer: float = 48.0
    """The middle one, tokens."""
    longest: int = 400
    """Tokens of an answer."""
    most_rows: int = 256
    """Of one picture: a processor makes larger ones smaller (here to 200,000 pixels)."""
    grain: int = 1
    """Tokens, and rows of pictures, that one stands for; the first of an answer is one alone."""

    def asks(self, seconds: float, seed: int) -> Iterator[Ask]:
        rng = random.Random(seed)
        now, number = 0.0, 0
        while (now := now + rng.expovariate(self.rate)) < seconds:
            number += 1
            yield self._ask(number, now, rng)

    def _ask(self, number: int, now: float, rng: random.Random) -> Ask:
        pictures: list[Picture] = []
        if rng.random() < self.media:
            pictures.append(self._picture(number, 0, rng))
            while rng.random() < self.more_pictures and len(pictures) < 8:
                pictures.append(self._picture(number, len(pictures), rng))
        head: tuple[int, ...] = ()
        shared = ""
        if rng.random() < self.headed:
            which = _popular(self.heads, rng)
            head, shared = _head(which), f"head-{which}"
        own = max(4, min(1024, int(rng.lognormvariate(math.log(48), 0.9))))
        tail = tuple(rng.randrange(100, 9000) for _ in range(own))
        answer = max(1, min(self.longest, int(rng.lognormvariate(math.log(self.answer), 0.8))))
        name, grain = f"r{number}", self.grain
        head, tail, answer = head[::grain], tail[::grain], 1 - (1 - answer) // grain
        unique = {picture.key: picture for picture in pictures}
        return Ask(name, now, head + tail, tuple(unique.values()), answer, shared, len(head))

    def _picture(self, number: int, place: int, rng: random.Random) -> Picture:
        if rng.random() < self.repeated:
            which = _popular(self.known_pictures, rng)
            key, own = f"p{which}", random.Random(which)
        else:
            key, own = f"p{number}.{place}", rng
        pixels = min(50e6, 100_000 * own.paretovariate(self.tail))
        rows = max(4, min(self.most_rows, int(pixels / PIXELS_PER_ROW))) // self.grain or 1
        return Picture(key, pixels / 1000, rows, int(pixels / 5))


@lru_cache(maxsize=8192)
def _head(which: int) -> tuple[int, ...]:
    length = min(1024, int(32 * random.Random(which).paretovariate(1.1)))
    return tuple(range(10_000 + which * 7, 10_000 + which * 7 + length))


def _popular(count: int, rng: random.Random) -> int:
    """One of so many, as by Zipf's law: the n-th is asked for 1/n times as often as the first."""
    return min(count - 1, int(count ** rng.random()) - 1)
