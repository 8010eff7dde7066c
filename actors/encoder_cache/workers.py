"""Which encode workers there are, and what each has in hand. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...protocol.bounded import Bounded
from ...protocol.edges.encoder_cache_to_encode_worker import first_number
from .batching import Job

FEARED = 4096
"""Keys at most; the oldest go first."""


class Hand(NamedTuple):
    """What one is encoding."""

    number: int
    jobs: tuple[Job, ...]


class Workers:
    def __init__(self, epoch: int) -> None:
        """`epoch`: of their encoder-cache."""
        self._hands: dict[str, Hand | None] = {}
        """By role; None: it rests."""
        self._number = first_number(epoch)
        self._feared: Bounded[str, None] = Bounded(FEARED)
        """Keys of what a worker has died with: the encoder-cache encodes it itself, so that what
        ends an encoder is judged in one place."""

    @property
    def here(self) -> int:
        return len(self._hands)

    @property
    def busy(self) -> int:
        return sum(hand is not None for hand in self._hands.values())

    @property
    def resting(self) -> list[str]:
        return [role for role, hand in self._hands.items() if hand is None]

    def may_have(self, job: Job) -> bool:
        """A ready embedding is only read, which the encoder-cache does."""
        return not job.features.ready and job.key not in self._feared

    def joined(self, role: str) -> None:
        self._hands[role] = None

    def give(self, role: str, jobs: Sequence[Job]) -> int:
        """The number of the batch."""
        self._number += 1
        self._hands[role] = Hand(self._number, tuple(jobs))
        return self._number

    def keep(self, role: str, number: int, which: Callable[[Job], bool]) -> tuple[int, ...] | None:
        """Of what it has, these alone: their places; None: it has no such batch."""
        hand = self._hands.get(role)
        if hand is None or hand.number != number:
            return None
        kept = tuple(place for place, job in enumerate(hand.jobs) if which(job))
        self._hands[role] = Hand(number, tuple(hand.jobs[place] for place in kept))
        return kept

    def answered(self, role: str, number: int) -> tuple[Job, ...] | None:
        """What it had; None: it had no such batch."""
        hand = self._hands.get(role)
        if hand is None or hand.number != number:
            return None
        self._hands[role] = None
        return hand.jobs

    def gone(self, role: str) -> tuple[Job, ...]:
        """What it had. Idempotent."""
        hand = self._hands.pop(role, None)
        jobs = () if hand is None else hand.jobs
        for job in jobs:
            self.fear(job)
        return jobs

    def fear(self, job: Job) -> None:
        """No worker gets it before it has been encoded here."""
        self._feared[job.key] = None

    def encoded(self, key: str) -> None:
        """Here, and nobody has died."""
        self._feared.pop(key, None)
