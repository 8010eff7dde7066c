"""How long the steps of this engine take, learnt from their results: streams wait for a prompt's chunk in time, not in tokens.
Pure."""

from .costs import STEP_SECONDS

PLAIN_STEPS = 3
"""A step in which somebody decodes takes as long as so many without a prompt, at the most."""
NEWEST = 0.25
"""The part that the newest step has in what is known. Other work on the machine can only add, so it counts twice at most."""


class Pace:
    """Of one runner on one machine, whatever else both do."""

    def __init__(self) -> None:
        self._plain: float | None = None
        """Seconds of a step that only decodes."""
        self._prompts: float | None = None
        """Seconds that all the prompts of a step may take which has nothing else: those of a share of 1."""

    def learn(self, seconds: float, prompts: float, decodes: bool) -> None:
        """A step took `seconds` for `prompts`, their share by `Costs`, beside sequences that decode or none."""
        if not prompts:
            self._plain = _blend(self._plain, seconds) if decodes else self._plain
        elif not decodes:
            self._prompts = _blend(self._prompts, seconds / prompts)
        elif self._plain is not None:
            self._prompts = _blend(self._prompts, max(0.0, seconds - self._plain) / prompts)

    @property
    def beside_streams(self) -> float:
        """The share of a step that prompts may take while somebody decodes; never less than a small model's full step. 0 where
        that bounds it and no plain step has been measured: the next one is plain, else a long prompt goes by unbounded."""
        if not self._prompts:
            return 1.0
        if self._plain is None:
            return 1.0 if self._prompts <= STEP_SECONDS else 0.0
        return min(1.0, max((PLAIN_STEPS - 1) * self._plain, STEP_SECONDS) / self._prompts)

    @property
    def of_set_up(self) -> float:
        """What a share that was told in STEP_SECONDS is here, where a share of 1 takes longer."""
        return min(1.0, STEP_SECONDS / self._prompts) if self._prompts else 1.0


def _blend(known: float | None, new: float) -> float:
    return new if not known else known + NEWEST * (min(new, 2 * known) - known)
