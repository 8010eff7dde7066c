"""Which encode workers there are, and what each has in hand. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...protocol.bounded import Bounded
from ...protocol.edges.encoder_cache_to_encode_worker import first_number
from .batching import Job

MOST_SUSPECTS = 4096
"""Keys that are remembered; the oldest go first."""


class Given(NamedTuple):
    """The batch that a worker is encoding."""

    number: int
    jobs: tuple[Job, ...]


class Workers:
    def __init__(self, epoch: int) -> None:
        """`epoch`: of their encoder-cache."""
        self._given: dict[str, Given | None] = {}
        """By role; None: it rests."""
        self._number = first_number(epoch)
        self._suspects: Bounded[str, None] = Bounded(MOST_SUSPECTS)
        """Keys of what a worker has died with: the encoder-cache encodes it itself, so that what
        ends an encoder is judged in one place."""

    @property
    def count(self) -> int:
        return len(self._given)

    @property
    def busy(self) -> int:
        return sum(given is not None for given in self._given.values())

    @property
    def resting(self) -> list[str]:
        return [role for role, given in self._given.items() if given is None]

    def may_have(self, job: Job) -> bool:
        """A ready embedding is only read, which the encoder-cache does."""
        return not job.features.ready and job.key not in self._suspects

    def joined(self, role: str) -> None:
        self._given[role] = None

    def give(self, role: str, jobs: Sequence[Job]) -> int:
        """The number of the batch."""
        self._number += 1
        self._given[role] = Given(self._number, tuple(jobs))
        return self._number

    def keep_only(
        self, role: str, number: int, whole: Callable[[Job], bool]
    ) -> tuple[int, ...] | None:
        """Of what it has, what is `whole`: the places in its batch; None: it has no such batch."""
        given = self._given_with(role, number)
        if given is None:
            return None
        kept = tuple(place for place, job in enumerate(given.jobs) if whole(job))
        self._given[role] = Given(number, tuple(given.jobs[place] for place in kept))
        return kept

    def answered(self, role: str, number: int) -> tuple[Job, ...] | None:
        """What it had, and rests now; None: it had no such batch."""
        given = self._given_with(role, number)
        if given is None:
            return None
        self._given[role] = None
        return given.jobs

    def gone(self, role: str) -> tuple[Job, ...]:
        """What it had, which is suspect now. Idempotent."""
        given = self._given.pop(role, None)
        jobs = () if given is None else given.jobs
        for job in jobs:
            self.suspect(job)
        return jobs

    def suspect(self, job: Job) -> None:
        """No worker gets it before it has been encoded here."""
        self._suspects[job.key] = None

    def clear(self, key: str) -> None:
        """It has been encoded here, and this process lives."""
        self._suspects.pop(key, None)

    def _given_with(self, role: str, number: int) -> Given | None:
        given = self._given.get(role)
        return given if given is not None and given.number == number else None
