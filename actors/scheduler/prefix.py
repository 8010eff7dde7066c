"""What makes two beginnings of prompts equal: a chain of hashes, one per full block; and of two
blocks behind equal ones, how many of their first tokens are equal."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from hashlib import sha256
from operator import itemgetter
from typing import NamedTuple, TypeVar

from ...protocol.requests.prepared import Prepared

Placement = tuple[int, int, int, str]
"""(start, end, offset, key) of one span."""
Stretch = TypeVar("Stretch", Placement, tuple[int, int, bytes])


class Content(NamedTuple):
    """What the keys and values of a block follow from, beside what lies before it."""

    size: int
    """Tokens."""
    columns: tuple[bytes, ...]
    """Of each its id, and its place in each plane of rotary positions."""
    items: tuple[Placement, ...] = ()
    """Those that it overlaps, placed relative to it."""

    def alike(self, other: "Content") -> int:
        """How many of the first tokens are equal."""
        if len(self.columns) != len(other.columns):
            return 0
        most = min(self.size, other.size)
        for ours, theirs in zip(self.columns, other.columns, strict=True):
            width = len(ours) // self.size
            while ours[: most * width] != theirs[: most * width]:
                most -= 1
        rows, others = _rows(self.items, most), _rows(other.items, most)
        while rows[:most] != others[:most]:
            most -= 1
        return most


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
        self._root = sha256(f"thespis blocks {turned} {prepared.tenant}".encode()).digest()
        self._parent = self._root
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
                    digest.update(self._turned(plane, start, end).tobytes())
            self._parent = digest.digest()
            self.hashes.append(self._parent)

    def before(self, index: int) -> bytes:
        """The hash of everything before a block."""
        return self.hashes[index - 1] if index else self._root

    @staticmethod
    def part(behind: bytes, content: Content) -> bytes:
        """The name of a block that is not full: no whole one's."""
        return sha256(b"part" + behind + repr(content).encode()).digest()

    def content(
        self, prompt: tuple[int, ...], output: list[int], start: int, end: int
    ) -> Content | None:
        """Of the block at `start`, as far as `end`; None where a key in it may follow from what
        lies behind it, or from who has said it."""
        if self._answers_apart and end > len(prompt):
            return None
        if next(_within(self._stretches, start, end), None) is not None:
            return None
        ids = array("q", prompt[start:end])
        ids.extend(output[max(0, start - len(prompt)) : max(0, end - len(prompt))])
        planes = (self._turned(plane, start, end).tobytes() for plane in self._planes or ())
        items = tuple(
            (begin - start, stop - start, offset, key)
            for begin, stop, offset, key in _within(self._placements, start, end)
        )
        return Content(end - start, (ids.tobytes(), *planes), items)

    def _turned(self, plane: "array[int]", start: int, end: int) -> "array[int]":
        """Rotary positions; an answer's are the same in every plane."""
        turned = plane[start:end]
        if end > len(plane):
            turned.extend(range(max(start, len(plane)) + self._delta, end + self._delta))
        return turned

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


def _rows(items: Sequence[Placement], tokens: int) -> list[tuple[str, int] | None]:
    """The item's row that stands at each of a block's first tokens."""
    rows: list[tuple[str, int] | None] = [None] * tokens
    for begin, stop, offset, key in items:
        for place in range(max(0, begin), min(tokens, stop)):
            rows[place] = key, offset + place - begin
    return rows


def _within(stretches: Sequence[Stretch], start: int, end: int) -> Iterator[Stretch]:
    """Of ordered stretches [begin, stop, ...), perhaps thousands, those that meet [start, end)."""
    for index in range(bisect_right(stretches, start, key=itemgetter(1)), len(stretches)):
        if stretches[index][0] >= end:
            return
        yield stretches[index]
