"""Native kernels are tried against torch before they are believed: a compiler may be at fault, or a
body for a processor that nobody had."""

import logging
from collections.abc import Callable, Hashable
from functools import cache

from .library import Kernels

log = logging.getLogger(__name__)


def believed(
    kernels: Kernels | None, trial: Callable[..., bool], what: str, *given: Hashable
) -> Kernels | None:
    """`kernels` where `trial(kernels, *given)` finds that they give what torch gives, on this
    processor and as this compiler made them; else None, after one line in the log: torch's own
    `what` are used. A trial is made once in a process."""
    return kernels if kernels is not None and _are_right(kernels, trial, what, given) else None


@cache
def _are_right(
    kernels: Kernels, trial: Callable[..., bool], what: str, given: tuple[Hashable, ...]
) -> bool:
    if trial(kernels, *given):
        return True
    log.warning(
        "torch's own %s are used in place of native kernels: here these give other numbers", what
    )
    return False
