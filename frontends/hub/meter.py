"""How far a fetch is: a bar in a terminal, one line at its start and one at its end in a log."""

import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from .choice import HubFile
from .words import size


class Meter:
    """Counts bytes from any thread."""

    def __init__(self, what: str, where: str, files: Sequence[HubFile]) -> None:
        from huggingface_hub.utils import are_progress_bars_disabled  # type: ignore[attr-defined]
        from tqdm import tqdm

        self._what, self._where, self._files = what, where, len(files)
        self._total = sum(file.size for file in files)
        self._plain = not sys.stderr.isatty() or are_progress_bars_disabled()
        self._lock = threading.Lock()
        self._bar = tqdm(
            total=self._total,
            desc=what,
            unit="B",
            unit_scale=True,
            dynamic_ncols=True,
            disable=self._plain,
            file=sys.stderr,
        )
        self._count = 0
        self._begun = time.monotonic()

    def add(self, count: int) -> None:
        with self._lock:
            self._count += count
            self._bar.update(count)

    def expect(self, files: Sequence[HubFile]) -> None:
        """What is still to come, where more is known now than at the start."""
        with self._lock:
            self._total = self._count + sum(file.size for file in files)
            self._bar.total = self._total

    def __enter__(self) -> Self:
        if self._plain:
            files = "1 file" if self._files == 1 else f"{self._files} files"
            _say(f"fetching {self._what}: {files}, {size(self._total)}, into {self._where}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._bar.close()
        if self._plain and kind is None:
            _say(
                f"fetched {self._what}: {size(self._total)} in "
                f"{time.monotonic() - self._begun:.0f} s"
            )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
