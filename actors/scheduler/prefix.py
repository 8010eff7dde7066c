"""What makes two beginnings of prompts equal: a chain of hashes, one per full block."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from hashlib import sha256
from operator import itemgetter
from typing import TypeVar

from ...protocol.requests.prepared import Prepared

Placement = tuple[int, int, int, str]
"""(start, end, offset, key) of one span."""
Stretch = TypeVar("Stretch", Placement, tuple[int, int, bytes])


class HashChain:
    """The hashes of one sequence's full blocks, made as its tokens become known.

    A block's hash covers its parent's, its token ids, key and place of every item that it overlaps
    (equal placeholders of different pictures are different content), its rotary positions, and all
    of any stretch that it overlaps whose tokens see each other both ways: its keys follow from what
    lies behind it, too. The chain begins with the tenant, and with the prompt's length where that
    is above `rope_bound`: its keys are turned as those of no other length. Where `answers_apart`, a
    block with an answer's tokens is none of a prompt that has them.
    """

    def __init__(
        self,
        prepared: Prepared,
        placements: tuple[Placement, ...],
        block_size: int,
        rope_bound: int | None = None,
        answers_apart: bool = False,
    ) -> None:
        """`placements`: in the prompt's order."""
        self._size = block_size
        self._placements = placements
        self._answers_apart = answers_apart
        self._planes = _planes(prepared.positions, len(prepared.token_ids))
        self._delta = prepared.position_delta
        length = len(prepared.token_ids)
        turned = length if rope_bound is not None and length > rope_bound else 0
        self._stretches = tuple(
            (first, last, self._content(prepared, first, last)) for first, last in prepared.unbroken
        )
        self._parent = sha256(f"thespis blocks {turned} {prepared.tenant}".encode()).digest()
        self.hashes: list[bytes] = []

    def extend(self, prompt: tuple[int, ...], output: list[int], tokens: int) -> None:
        """Make the hashes of all blocks that end within the first `tokens` tokens."""
        size = self._size
        first, last = len(self.hashes) * size, tokens // size * size
        if first >= last:
            return
        ids = array("q", prompt[first:last])
        ids.extend(output[max(0, first - len(prompt)) : max(0, last - len(prompt))])
        data, width = ids.tobytes(), ids.itemsize * size
        for number, start in enumerate(range(first, last, size)):
            end = start + size
            digest = sha256(self._parent + data[number * width : (number + 1) * width])
            for begin, stop, offset, key in _within(self._placements, start, end):
                digest.update(f"{key} {begin - start} {stop - start} {offset};".encode())
            for begin, _, content in _within(self._stretches, start, end):
                digest.update(f"{begin - start} ".encode() + content)
            if self._answers_apart and end > len(prompt):
                digest.update(f"said from {max(0, len(prompt) - start)}".encode())
            if self._planes is not None:
                for plane in self._planes:
                    digest.update(plane[start:end].tobytes())
                if end > len(prompt):
                    digest.update(f"{self._delta} {len(prompt) - start}".encode())
            self._parent = digest.digest()
            self.hashes.append(self._parent)

    def _content(self, prepared: Prepared, first: int, last: int) -> bytes:
        """What a stretch of the prompt is made of."""
        digest = sha256(array("q", prepared.token_ids[first:last]).tobytes())
        for begin, stop, offset, key in self._placements:
            if begin < last and stop > first:
                digest.update(f"{key} {begin - first} {stop - first} {offset};".encode())
        for plane in self._planes or ():
            digest.update(plane[first:last].tobytes())
        return digest.digest()


def _planes(positions: bytes | None, tokens: int) -> "list[array[int]] | None":
    """int32 [planes, tokens] as an array per plane."""
    if positions is None:
        return None
    width = 4 * tokens
    return [
        array("i", positions[start : start + width]) for start in range(0, len(positions), width)
    ]


def _within(stretches: Sequence[Stretch], start: int, end: int) -> Iterator[Stretch]:
    """Of ordered stretches [begin, stop, ...), perhaps thousands, those that meet [start, end)."""
    for index in range(bisect_right(stretches, start, key=itemgetter(1)), len(stretches)):
        if stretches[index][0] >= end:
            return
        yield stretches[index]
