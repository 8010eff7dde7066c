"""The books of one table's KV blocks: who holds which, and which hold a known beginning of some
prompt.

The GPU runner keeps the bytes; here are only numbers. Block 0 (`PADDING`) is never handed out: it
stands for none.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .prefix import Content


class Follower(NamedTuple):
    """A block of which others may copy a beginning."""

    block: int
    content: Content


class BlockPool:
    """Reference counts, and the prefix cache, of which the least recently used goes first."""

    def __init__(self, num_blocks: int) -> None:
        self.total = num_blocks - 1
        """Blocks that can be handed out."""
        self._refs = [0] * num_blocks
        self._hashes: list[bytes | None] = [None] * num_blocks
        """What a block holds, where it is in the cache."""
        self._blank = list(range(num_blocks - 1, 0, -1))
        """Free blocks that nobody could reuse; taken before any cached one."""
        self._idle: OrderedDict[int, None] = OrderedDict()
        """Free blocks in the cache, the next to be given up first."""
        self._cached: dict[bytes, int] = {}
        self._followers: dict[bytes, Follower] = {}
        """By the hash of everything before it: the cached block that was published last..."""
        self._behind: dict[int, bytes] = {}
        """... and that hash, by the block."""

    @property
    def free(self) -> int:
        return len(self._blank) + len(self._idle)

    @property
    def used(self) -> int:
        return self.total - self.free

    @property
    def cached(self) -> int:
        """Blocks whose content can be found, in use or not."""
        return len(self._cached)

    def find(self, digest: bytes) -> int:
        """The block with this content, 0 where there is none. It is not taken by this."""
        return self._cached.get(digest, 0)

    def find_all(self, hashes: Iterable[bytes]) -> list[int]:
        return [self._cached.get(digest, 0) for digest in hashes]

    def has_room(self, hit: Iterable[int], fresh: int) -> bool:
        """Whether `fresh` blocks can be had beside those of a hit, some of which may be free."""
        return self.free - sum(1 for block in hit if not self._refs[block]) >= fresh

    def share(self, blocks: Iterable[int]) -> None:
        """Hold blocks of a prefix hit once more."""
        for block in blocks:
            if not self._refs[block]:
                del self._idle[block]
            self._refs[block] += 1

    def take(self, count: int) -> list[int]:
        """`count` blocks of one's own; there must be room. What they held leaves the cache."""
        taken: list[int] = []
        for _ in range(count):
            if self._blank:
                block = self._blank.pop()
            else:
                block, _ = self._idle.popitem(last=False)
                digest = self._hashes[block]
                assert digest is not None
                del self._cached[digest]
                self._hashes[block] = None
                self._unfollow(block)
            self._refs[block] = 1
            taken.append(block)
        return taken

    def publish(self, block: int, digest: bytes) -> None:
        """`block` is computed: others may share it. Of equal ones the first is kept."""
        assert block
        if digest not in self._cached and self._hashes[block] is None:
            self._cached[digest] = block
            self._hashes[block] = digest

    def follow(self, block: int, behind: bytes, content: Content) -> None:
        """Others who begin like this cached block may copy that: the newest of those behind one
        beginning is kept."""
        if known := self._followers.get(behind):
            self._unfollow(known.block)
        self._behind[block] = behind
        self._followers[behind] = Follower(block, content)

    def follower(self, behind: bytes) -> Follower | None:
        return self._followers.get(behind)

    def _unfollow(self, block: int) -> None:
        if behind := self._behind.pop(block, None):
            del self._followers[behind]

    def forget(self) -> None:
        """Empty the cache: nothing held now is matched again. Holders keep their blocks."""
        self._blank.extend(reversed(self._idle))
        self._idle.clear()
        self._cached.clear()
        self._followers.clear()
        self._behind.clear()
        self._hashes = [None] * len(self._hashes)

    def give_back(self, blocks: Sequence[int], soon: bool = False) -> None:
        """Hold these once less. The end of a prompt is given up before its beginning.

        `soon`: they are the next to be given up, the last of them first: what a long prompt leaves
        behind makes room for the rest of it, and not what others will come back for.
        """
        if soon:
            blocks = blocks[::-1]
        for block in reversed(blocks):
            self._refs[block] -= 1
            assert self._refs[block] >= 0
            if self._refs[block]:
                continue
            if self._hashes[block] is None:
                self._blank.append(block)
            else:
                self._idle[block] = None
                if soon:
                    self._idle.move_to_end(block, last=False)
