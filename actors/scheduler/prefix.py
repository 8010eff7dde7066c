"""What makes two beginnings of prompts equal: a chain of hashes, one per full block."""

from array import array
from hashlib import sha256

from ...protocol.prepared import Prepared

Placement = tuple[int, int, int, str]
"""(start, end, offset, key) of one span."""


class HashChain:
    """The hashes of one sequence's full blocks, made as its tokens become known.

    A block's hash covers its parent's, its token ids, key and place of every item that it overlaps (equal placeholders of
    different pictures are different content), its rotary positions, and all of any stretch that it overlaps whose tokens see
    each other both ways: its keys follow from what lies behind it, too. The chain begins with the tenant, and with the
    prompt's length where that is above `rope_bound`: its keys are turned as those of no other length. Where `answers_apart`, a
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
        self._size = block_size
        self._placements = placements
        self._answers_apart = answers_apart
        self._planes = _planes(prepared.positions, len(prepared.token_ids))
        self._delta = prepared.position_delta
        length = len(prepared.token_ids)
        turned = length if rope_bound is not None and length > rope_bound else 0
        self._stretches = tuple((first, last, self._content(prepared, first, last)) for first, last in prepared.unbroken)
        self._parent = sha256(f"thespis blocks {turned} {prepared.tenant}".encode()).digest()
        self.hashes: list[bytes] = []

    def extend(self, prompt: tuple[int, ...], output: list[int], tokens: int) -> None:
        """Make the hashes of all blocks that end within the first `tokens` tokens."""
        for index in range(len(self.hashes), tokens // self._size):
            start, end = index * self._size, (index + 1) * self._size
            ids = prompt[start:end]
            if len(ids) < self._size:
                first = max(0, start - len(prompt))
                ids = (*ids, *output[first : end - len(prompt)])
            digest = sha256(self._parent)
            digest.update(array("q", ids).tobytes())
            for begin, stop, offset, key in self._placements:
                if begin < end and stop > start:
                    digest.update(f"{key} {begin - start} {stop - start} {offset};".encode())
            for begin, stop, content in self._stretches:
                if begin < end and stop > start:
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
    return [array("i", positions[start : start + width]) for start in range(0, len(positions), width)]
