"""Who is to blame when a process dies: proof before judgement. Pure; names are requests or items,
times are parameters.

After a second death with work in hand, what was in hand at both is run again alone, one at a time,
and cleared when it gets through; only what was alone in the process at deaths that add up to proof
is refused. Two deaths of the process's own doing (a crash, an exit, out of memory) are proof. A
kill from outside is nobody's fault as far as anybody can see, so it proves less, three are needed,
and it is forgotten as soon as the suspect gets past the place at which it happened.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ...protocol.bounded import Bounded
from ...protocol.errors import Failure

POISON = Failure(
    "unprocessable",
    "This request ended the process that worked on it more than once, while nothing else was "
    "there: it is not tried again.",
    code="poison",
)
OWN, OUTSIDE, PROOF = 3, 2, 6
"""Evidence that one death alone in the process gives, by how it came, and the sum that is proof."""
KEPT_SECONDS = 600.0
"""How long what was refused once is refused again without another death."""
KEPT = 4096
"""Names with a record, and refusals, at most; the oldest go first."""


def evidence(outside: bool) -> int:
    return OUTSIDE if outside else OWN


class Proof(NamedTuple):
    """What the deaths of some incarnations have been proved to come from."""

    name: str
    epochs: tuple[int, ...]
    """All of them at which it was in hand."""


class _Death(NamedTuple):
    epoch: int
    outside: bool
    alone: bool
    """Nothing else was in hand."""


@dataclass(slots=True)
class _Record:
    """The deaths at which one name was in hand."""

    deaths: list[_Death] = field(default_factory=list)
    suspect: bool = False
    to_the_end: bool = False
    """It got past the place once and the process crashed again: only its end clears it now."""


class Quarantine:
    """Of one kind of process. Its owner runs `suspects` alone, one at a time, the first first."""

    def __init__(self) -> None:
        self._records: Bounded[str, _Record] = Bounded(KEPT)

    def died(
        self, epoch: int, in_hand: Iterable[str], outside: bool, others: bool = False
    ) -> Proof | None:
        """This incarnation ended with these in hand; returns what is now proved to be the cause,
        and forgets it.

        `others`: it also had work that is not named here, so nobody was alone.
        """
        names = tuple(in_hand)
        death = _Death(epoch, outside, alone=len(names) == 1 and not others)
        for name in names:
            if (record := self._records.get(name)) is None:
                record = self._records[name] = _Record()
            record.deaths.append(death)
            record.suspect = record.suspect or len(record.deaths) >= 2
        if not death.alone or self.evidence(names[0]) < PROOF:
            return None
        deaths = self._records.pop(names[0]).deaths
        return Proof(names[0], tuple(death.epoch for death in deaths))

    def passed(self, name: str) -> None:
        """It got past the place where it was at its last death."""
        record = self._records.get(name)
        if record is None:
            return
        record.deaths = [death for death in record.deaths if not death.outside]
        if not record.deaths:
            del self._records[name]
        elif record.suspect and not record.to_the_end:
            record.suspect, record.to_the_end = False, True

    def ended(self, name: str) -> None:
        """It is over, or has got through as a whole: nothing is held against it. Idempotent."""
        self._records.pop(name, None)

    @property
    def suspects(self) -> list[str]:
        return [name for name, record in self._records.items() if record.suspect]

    def first(self, wanted: Callable[[str], bool]) -> str | None:
        """The first suspect that anybody still wants: the one to run alone now."""
        return next(
            (name for name in self._records if self._records[name].suspect and wanted(name)), None
        )

    def evidence(self, name: str) -> int:
        """Against `name`, of deaths alone; never `PROOF`, for then it has been named."""
        deaths = self._records[name].deaths if name in self._records else []
        return sum(evidence(death.outside) for death in deaths if death.alone)

    def __len__(self) -> int:
        return len(self._records)


class Banned:
    """Fingerprints of what was proved to end a process, for `KEPT_SECONDS`."""

    def __init__(self) -> None:
        self._until: Bounded[str, float] = Bounded(KEPT)

    def add(self, fingerprint: str, now: float) -> None:
        self._until[fingerprint] = now + KEPT_SECONDS

    def holds(self, fingerprint: str, now: float) -> bool:
        until = self._until.get(fingerprint)
        if until is None:
            return False
        if until <= now:
            del self._until[fingerprint]
            return False
        return True

    def __len__(self) -> int:
        return len(self._until)
