"""What sequences hold in the runner: blocks in every table, and a slot for recurrent states. Had
together, or not at all.

A table of layers with a window gets blocks as a sequence comes to need them, and has them back when
no token that is still to be computed looks at them; a table of layers that see everything gives all
that is known of a sequence at once.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ...protocol.config.room import Room
from ...protocol.edges.scheduler_to_gpu_runner import PADDING
from .blocks import BlockPool
from .prefix import Content


@dataclass(slots=True, frozen=True)
class Hit:
    """A beginning of which everything is there that the tokens behind it look at."""

    tokens: int = 0
    blocks: tuple[list[int], ...] = ()
    """By table; () where `tokens` is 0."""
    state: int = 0
    """The slot with the recurrent states at its end."""
    known: int = 0
    """Tokens that it would have if their states were kept too."""
    copied: int = 0
    """Its last tokens, which are the first of block `source` of the one table there is: they are to
    be copied into a block of the sequence's own."""
    source: int = 0


@dataclass(slots=True)
class Holding:
    """What one sequence in the batch holds."""

    blocks: list[list[int]] = field(default_factory=list)
    """By table, by position // block size."""
    gone: list[int] = field(default_factory=list)
    """By table: how many of the first are PADDING."""
    tokens: int = 0
    """Positions that have blocks in every table."""
    state: int = 0
    """Slot of its recurrent states; 0: it holds none."""


class Books:
    """A `BlockPool` per table, and one for slots of states, which caches snapshots."""

    def __init__(self, room: Room, windows: Sequence[int | None], block_size: int) -> None:
        self.block_size = block_size
        self.windows = tuple(windows)
        self.pools = tuple(BlockPool(blocks) for blocks in room.blocks)
        self.narrowest = min(
            (window for window in windows if window is not None), default=sys.maxsize
        )
        """Tokens that each token looks back in every layer, its own among them."""
        self.states = BlockPool(room.states) if room.states else None
        self.copies = self.windows == (None,) and self.states is None
        """Whether a beginning of a block is worth something to others: in one table, whose layers
        see everything, and without states."""

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def longest(self, step: int) -> int:
        """Tokens of the longest sequence that fits alone, if a step computes `step` of them."""
        lengths = [sys.maxsize]
        for pool, window in zip(self.pools, self.windows, strict=True):
            if window is None or pool.total <= self.blocks_for(window - 1 + step):
                lengths.append(pool.total * self.block_size)
        return min(lengths)

    def find(self, hashes: Sequence[bytes], may_end: Callable[[int], bool] | None = None) -> Hit:
        """The longest beginning of a chain of hashes that is held. `may_end`: whether it may be cut
        after so many tokens; None: after any."""
        size = self.block_size
        found = [pool.find_all(hashes) for pool in self.pools]
        most = len(hashes)
        for blocks, window in zip(found, self.windows, strict=True):
            if window is None and PADDING in blocks:
                most = min(most, blocks.index(PADDING))
        runs = [_runs(blocks[:most]) for blocks in found]
        known = 0
        for count in range(most, 0, -1):
            firsts = [self._first(window, count * size) for window in self.windows]
            if (may_end is not None and not may_end(count * size)) or any(
                run[count - 1] < count - first for run, first in zip(runs, firsts, strict=True)
            ):
                continue
            known = known or count * size
            state = 0 if self.states is None else self.states.find(hashes[count - 1])
            if state or self.states is None:
                return Hit(
                    count * size,
                    tuple(
                        _behind(blocks[:count], first)
                        for blocks, first in zip(found, firsts, strict=True)
                    ),
                    state,
                    known,
                )
        return Hit(known=known)

    def open(self, hit: Hit, known: int, step: int) -> Holding | None:
        """Room for a sequence of `known` tokens that begins with `hit`; in windows, for the next
        `step` of them. None: there is none now."""
        had = hit.blocks or tuple([] for _ in self.pools)
        near = min(known, hit.tokens + step)
        wanted = [self.blocks_for(known if window is None else near) for window in self.windows]
        held = [[block for block in blocks if block] for blocks in had]
        if not all(
            pool.has_room(own, count - len(blocks))
            for pool, own, count, blocks in zip(self.pools, held, wanted, had, strict=True)
        ):
            return None
        if self.states is not None and not self.states.free:
            return None
        holding = Holding(
            [list(blocks) for blocks in had], [blocks.count(PADDING) for blocks in had]
        )
        for pool, own in zip(self.pools, held, strict=True):
            pool.share(own)
        if hit.copied:  # used: given up late, or now, since it is copied first
            self.pools[0].share([hit.source])
            self.pools[0].give_back([hit.source])
        for pool, window, blocks, count in zip(
            self.pools, self.windows, holding.blocks, wanted, strict=True
        ):
            if window is None:
                blocks += pool.take(count - len(blocks))
        holding.tokens = self._covered(holding)
        if self.states is not None:
            # used: the next to be given up is another, or it where there is no other: it is copied
            # first
            if hit.state:
                self.states.share([hit.state])
                self.states.give_back([hit.state])
            (holding.state,) = self.states.take(1)
        return holding

    def lacks(self, holding: Holding, end: int, spare: int = 0) -> bool:
        """Whether blocks up to `end` are not to be had, or not without touching `spare` others."""
        missing = self._missing(holding, end)
        return any(
            count and pool.free < count + spare
            for pool, count in zip(self.pools, missing, strict=True)
        )

    def extend(self, holding: Holding, end: int) -> tuple[tuple[int, ...], ...]:
        """Blocks up to `end`, of each table; () where it has them. They are to be had."""
        if end <= holding.tokens:
            return ()
        more = tuple(
            tuple(pool.take(count))
            for pool, count in zip(self.pools, self._missing(holding, end), strict=True)
        )
        for blocks, taken in zip(holding.blocks, more, strict=True):
            blocks += taken
        holding.tokens = self._covered(holding)
        return more

    def publish(self, holding: Holding, hashes: Sequence[bytes], first: int, last: int) -> None:
        """Blocks [first, last) are full, computed and not given back: others may share them."""
        for pool, blocks in zip(self.pools, holding.blocks, strict=True):
            for index in range(first, last):
                pool.publish(blocks[index], hashes[index])

    def follow(
        self, holding: Holding, index: int, digest: bytes, behind: bytes, content: Content
    ) -> None:
        """Block `index`, full or not, is computed as far as `content` tells: others may begin with
        a copy of that. `digest`: its name in the cache."""
        (pool,), (blocks,) = self.pools, holding.blocks
        pool.publish(blocks[index], digest)
        if block := pool.find(digest):  # another's, where it has the same content
            pool.follow(block, behind, content)

    def followed(self, behind: bytes) -> bool:
        """Whether a block may be known in part."""
        return self.pools[0].follower(behind) is not None

    def further(self, hit: Hit, behind: bytes, content: Content) -> Hit:
        """`hit` and what is known of the block that follows, whose content may be `content`."""
        follower = self.pools[0].follower(behind)
        copied = 0 if follower is None else follower.content.alike(content)
        if follower is None or not copied:
            return hit
        return replace(hit, tokens=hit.tokens + copied, copied=copied, source=follower.block)

    def let_go(self, holding: Holding, end: int) -> None:
        """Everything up to `end` is computed: give back what no later token looks at."""
        for table, window in enumerate(self.windows):
            first, gone = self._first(window, end), holding.gone[table]
            if first > gone:
                blocks = holding.blocks[table]
                self.pools[table].give_back(blocks[gone:first], soon=True)
                blocks[gone:first] = [PADDING] * (first - gone)
                holding.gone[table] = first

    def close(self, holding: Holding) -> None:
        """Everything goes back; who waits holds nothing, of no table."""
        for pool, blocks, gone in zip(self.pools, holding.blocks, holding.gone, strict=False):
            pool.give_back(blocks[gone:])
        if self.states is not None and holding.state:
            self.states.give_back([holding.state])

    def snapshot(self, digest: bytes) -> int:
        """A slot for the states at the end of a beginning; 0: they are kept, or there is none."""
        if self.states is None or self.states.find(digest) or not self.states.free:
            return 0
        return self.states.take(1)[0]

    def shelve(self, slot: int, digest: bytes | None) -> None:
        """The copy into `slot` is made, for all who begin with `digest`; None: for nobody."""
        assert self.states is not None
        if digest is not None:
            self.states.publish(slot, digest)
        self.states.give_back([slot])

    def forget(self) -> None:
        """Empty the prefix cache."""
        for pool in (*self.pools, *((self.states,) if self.states is not None else ())):
            pool.forget()

    def counters(self) -> dict[str, float]:
        """Blocks of all tables together, and of each where there are several; slots of states."""
        said: dict[str, float] = {
            "kv_blocks_used": sum(pool.used for pool in self.pools),
            "kv_blocks": sum(pool.total for pool in self.pools),
        }
        if len(self.pools) > 1:
            for pool, window in zip(self.pools, self.windows, strict=True):
                name = "full" if window is None else f"window_{window}"
                said |= {f"kv_blocks_used_{name}": pool.used, f"kv_blocks_{name}": pool.total}
        states = self.states or BlockPool(1)
        return said | {
            "state_slots_used": states.used,
            "state_slots": states.total,
            "state_snapshots": states.cached,
        }

    def _first(self, window: int | None, end: int) -> int:
        """The first block that the token at `end` looks at."""
        return 0 if window is None else max(0, end - window + 1) // self.block_size

    def _missing(self, holding: Holding, end: int) -> list[int]:
        wanted = self.blocks_for(end)
        return [max(0, wanted - len(blocks)) for blocks in holding.blocks]

    def _covered(self, holding: Holding) -> int:
        return (
            min(map(len, holding.blocks), default=sys.maxsize // self.block_size) * self.block_size
        )


def _runs(blocks: Sequence[int]) -> list[int]:
    """At each place, how many blocks in a row are there up to it."""
    runs: list[int] = []
    for block in blocks:
        runs.append((runs[-1] if runs else 0) + 1 if block else 0)
    return runs


def _behind(blocks: list[int], first: int) -> list[int]:
    return [PADDING] * first + blocks[first:]
