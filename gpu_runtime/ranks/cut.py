"""What part of a stored weight one rank has."""

from typing import NamedTuple

import torch


class Cut(NamedTuple):
    """Stretches along one axis, side by side."""

    axis: int
    stretches: tuple[tuple[int, int], ...]
    """(first, how many)"""
    whole: torch.Size
    """Of the weight as it is stored."""

    def of(self, weight: torch.Tensor) -> torch.Tensor:
        """Views where it is one stretch: of a mapped file no more is read than they cover."""
        parts = [weight.narrow(self.axis, *stretch) for stretch in self.stretches]
        return parts[0] if len(parts) == 1 else torch.cat(parts, self.axis)


def equal_part(whole: torch.Size, axis: int, rank: int, size: int, halves: int = 1) -> Cut:
    """An equal part of each of `halves` equal pieces that lie behind each other along `axis`, whose
    length all of that divides."""
    length = whole[axis] // (halves * size)
    piece = whole[axis] // halves
    stretches = tuple((half * piece + rank * length, length) for half in range(halves))
    return Cut(axis, stretches, whole)
