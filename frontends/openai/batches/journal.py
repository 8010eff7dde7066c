"""What a batch has answered, on disk, line by line: the next process goes on where this one was.
Everything here blocks."""

import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from ....protocol.errors import invalid
from ..stored.folder import SAFE, write_whole
from .ids import KnownIds
from .lines import MAX_LINE, MAX_LINES

PIECE = 1 << 20


class _Known(msgspec.Struct):
    custom_id: str


class Journal:
    """A file to which whole lines are added. What a dead process has left of half a line is cut
    off. `hold`: against other processes, until it is closed; raises BlockingIOError where another
    has it."""

    def __init__(self, path: Path, hold: bool = False) -> None:
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | SAFE, 0o600)
        if hold:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(self._file)
                raise
        self.ids = KnownIds()
        """Of the requests that have a line here."""
        whole = 0
        with open(path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    self.ids.add(msgspec.json.decode(line, type=_Known).custom_id)
                except (msgspec.DecodeError, ValueError):
                    break  # what a power cut has left
                whole += len(line)
        os.ftruncate(self._file, whole)
        self.size = whole
        """Bytes."""

    def add(self, line: bytes, custom_id: str) -> None:
        """Raises OSError, after which nothing of the line is there."""
        with self._lock:
            if self._file < 0:  # whoever wanted it has left
                return
            try:
                write_whole(self._file, line)
            except OSError:
                os.ftruncate(self._file, self.size)
                raise
            self.size += len(line)
            self.ids.add(custom_id)

    def sync(self) -> None:
        os.fsync(self._file)

    def close(self) -> None:
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1


def lines_of(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """The lines that have something in them, with their numbers from 1 on; None for one that is too
    long. Raises RequestError where most lines are empty."""
    number = empty = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            yield number, None
            while line and not line.endswith(b"\n"):
                line = file.readline(PIECE)
        elif line.strip():
            yield number, line
        else:
            empty += 1
            if empty > MAX_LINES:
                raise invalid(f"More than {MAX_LINES} lines are empty.", code="too_many_lines")
