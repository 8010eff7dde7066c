"""The marks of pinned files, one for each file and model: `pins/<fingerprint>-<owner>`. They
outlive every engine, and all engines that share the folder heed them. Everything here is done under
the folder's lock.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from ....protocol.cache import make_private
from .item_file import Damaged
from .pin_file import MOST, MOST_MARKS, Mark, Share, decode_mark, encode_mark, fits

_NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{64}")
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Pins:
    """`most`: bytes that may be pinned in all. A tenant with a key may pin half of that: one of
    several leaves something to the others."""

    def __init__(
        self, place: Path, most: int, block: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._place, self._block, self._clock = place, block, clock
        self._all = Share(most, MOST_MARKS)
        self._own = Share(most // 2, MOST_MARKS // 2)

    @property
    def room(self) -> int:
        """What the marks themselves take, in bytes."""
        return len(self._names()) * self._block

    def files(self) -> frozenset[str]:
        """What is pinned."""
        return frozenset(file for mark in self.marks() for file in mark.files)

    def bound(self, new: Mark) -> str | None:
        """Which bound `new` would break, the tenant's (`own`) or that of `all`; None: neither. It
        is in place of what has its name."""
        others = [mark for mark in self.marks() if mark.name != new.name]
        own = [mark for mark in others if mark.tenant == new.tenant]
        if new.tenant and not fits(new, own, self._own, self._block):
            return "own"
        if not fits(new, others, self._all, self._block):
            return "all" if new.tenant else "own"
        return None

    def marks(self) -> list[Mark]:
        """Those that hold; what is over or damaged goes."""
        now, found = self._clock(), list[Mark]()
        for name in self._names():
            try:
                mark = decode_mark(self._read(name), name)
            except FileNotFoundError:
                continue
            except Damaged:
                self._unlink(name)
                continue
            if mark.expires is not None and mark.expires <= now:
                self._unlink(name)
            else:
                found.append(mark)
        return found

    def write(self, mark: Mark) -> None:
        """For good: it survives a power cut. Raises OSError; then what was there before holds."""
        make_private(self._place)
        part = self._place / f"{mark.name}.part"
        self._unlink(part.name)
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
            with open(descriptor, "wb") as file:
                file.write(encode_mark(mark))
                file.flush()
                os.fsync(descriptor)
            part.rename(self._place / mark.name)
        except OSError:
            self._unlink(part.name)
            raise

    def remove(self, owner: str) -> None:
        """Idempotent."""
        for name in self._names():
            if name.partition("-")[2] == owner:
                self._unlink(name)

    def _names(self) -> list[str]:
        """Without what somebody has not finished, which goes."""
        try:
            found = os.listdir(self._place)
        except FileNotFoundError:
            return []
        for name in found:
            if name.endswith(".part") and _NAME.fullmatch(name.removesuffix(".part")):
                self._unlink(name)
        return [name for name in found if _NAME.fullmatch(name)]

    def _read(self, name: str) -> bytes:
        """Raises OSError; Damaged where it is no file."""
        try:
            descriptor = os.open(self._place / name, os.O_RDONLY | _SAFE)
        except FileNotFoundError:
            raise
        except OSError:
            raise Damaged from None
        try:
            return os.pread(descriptor, MOST + 1, 0)
        except OSError:
            raise Damaged from None
        finally:
            os.close(descriptor)

    def _unlink(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._place / name)
