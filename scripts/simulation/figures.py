"""Figures of many values."""

from collections.abc import Sequence

import numpy


def at(values: Sequence[float], place: float) -> float:
    """0.5: the middle one."""
    if not len(values):
        return 0.0
    return float(numpy.sort(numpy.asarray(values))[min(len(values) - 1, int(place * len(values)))])


def ms(values: Sequence[float], place: float) -> float:
    return round(at(values, place) * 1000, 2)


def part(some: float, all_: float) -> float:
    return round(some / all_, 4) if all_ else 0.0
