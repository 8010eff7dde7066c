"""How long the steps of this engine take, learnt from their results: streams wait for a prompt's
chunk in time, not in tokens. Pure."""

from collections import deque
from dataclasses import dataclass, field

from .costs import STEP_SECONDS

PLAIN_STEPS = 2.25
"""A step in which somebody decodes takes as long as so many with all cores and without a prompt, at
the most: streams are to wait for less than three, and the longest of hundreds takes a third more
than was reckoned."""
UNNOTICED_SECONDS = 0.016
"""That prompts may always take of one step: a small model's full one on a core of its own. Where
others want the core, too, it takes twice as long."""
NEWEST = 0.25
"""The part that the newest step has in what is known of prompts. Other work on the machine can only
add, so it counts twice at most."""
RECENT = 16
"""Plain steps that are known. Whoever sends pictures makes them before, and they are read and
decoded: that holds up a dozen in a row. What these teach would stand for as long as every step has
a prompt."""
MIDDLE, QUIET = 2, 4
"""One in so many of them was shorter: than what the next one will take, and than what one takes
that nothing holds up."""


@dataclass
class _Known:
    """Of steps with all cores, or beside the encoder. 0: none has been measured."""

    steps: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=RECENT))
    """Of the newest steps that only decode: seconds, and the share of a step's tokens that they
    decoded."""
    prompts: float = 0.0
    """Seconds that all the prompts of a step may take which has nothing else: those of a share of
    1."""

    def plain(self, shorter: int = MIDDLE) -> tuple[float, float]:
        """A step that only decodes, as one in `shorter` of them is shorter."""
        return sorted(self.steps)[(len(self.steps) - 1) // shorter] if self.steps else (0.0, 0.0)

    def plain_seconds(self, decoded: float, shorter: int = MIDDLE) -> float:
        """Where so much is decoded. While streams come, each beside a prompt, no plain step is
        seen: a token more is taken to take what a prompt's takes."""
        seconds, share = self.plain(shorter)
        return seconds + max(0.0, decoded - share) * self.prompts if seconds else 0.0


class Pace:
    """Of one runner on one machine, whatever else both do."""

    def __init__(self) -> None:
        self._alone, self._beside = _Known(), _Known()
        self._now = self._alone
        """As the newest step was."""
        self._decoded = 0.0
        """The share of a step's tokens that the newest one with any decoded."""

    def learn(self, seconds: float, prompts: float, decoded: float, beside: bool = False) -> None:
        """A step took `seconds` for `prompts`, their share by `Costs`, and for tokens of sequences
        that decode, the share `decoded` of a step's tokens; `beside`: the encoder had its part of
        the cores."""
        known = self._now = self._beside if beside else self._alone
        if decoded:
            self._decoded = decoded
        if not prompts:
            if decoded:
                known.steps.append((seconds, decoded))
        elif not decoded:
            known.prompts = _blend(known.prompts, seconds / prompts)
        elif (plain := self._measured.plain())[
            0
        ]:  # what it took beyond that, prompts took, and the streams that have come since
            beyond = max(0.0, seconds - plain[0])
            known.prompts = _blend(known.prompts, beyond / (prompts + max(0.0, decoded - plain[1])))

    def expect(self, encoding: bool) -> None:
        """The encoder has work: where it has been seen to take cores, it takes them before a result
        tells."""
        if encoding and (self._beside.steps or self._beside.prompts):
            self._now = self._beside

    @property
    def beside_streams(self) -> float:
        """The share of a step that prompts may take while somebody decodes; never less than half of
        a plain step that nothing else held up takes, or than what nobody notices. 0 where that
        bounds it and no plain step has been measured: the next one is plain, else a long prompt
        goes by unbounded."""
        prompts = self._prompts
        if not prompts:
            return 1.0
        if not (plain := self._measured.plain_seconds(self._decoded)):
            return 1.0 if prompts <= UNNOTICED_SECONDS else 0.0
        known, least = (
            (self._alone, plain / 2)  # half of the cores, twice as long
            if self._now is self._beside
            else (self._measured, 0.0)
        )
        quiet = max(known.plain_seconds(self._decoded, QUIET), least)
        left = max(PLAIN_STEPS * quiet - plain, min(plain / 2, quiet), UNNOTICED_SECONDS)
        return min(1.0, left / prompts)

    def seconds(self, prompts: float) -> float:
        """What prompts of this share take; 0 while it is not known."""
        return self._prompts * prompts

    @property
    def without_streams(self) -> float:
        """The share of a step that prompts may take while nobody decodes: a small model's full step
        is over so soon that late positions of a prompt need not be cut finer."""
        return max(1.0, STEP_SECONDS / self._prompts) if self._prompts else 1.0

    @property
    def of_set_up(self) -> float:
        """What a share that was told in STEP_SECONDS is here, where a share of 1 takes longer."""
        prompts = self._prompts
        return min(1.0, STEP_SECONDS / prompts) if prompts else 1.0

    @property
    def _measured(self) -> _Known:
        """Plain steps as they are now, or as they were otherwise: a small model's take as long
        beside the encoder."""
        return next(
            (known for known in (self._now, self._alone, self._beside) if known.steps), self._now
        )

    @property
    def _prompts(self) -> float:
        """As it is now; where that is not known, as it was otherwise: half of the cores take twice
        as long."""
        if self._now.prompts:
            return self._now.prompts
        return 2 * self._alone.prompts if self._now is self._beside else self._beside.prompts / 2


def _blend(known: float, new: float) -> float:
    return new if not known else known + NEWEST * (min(new, 2 * known) - known)
