"""Where the answers of a batch go: a file of lines, as OpenAI has them, or a folder of Parquet
files. Either says what was answered before, and takes each id once. Everything here blocks."""

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

from ....protocol.errors import EngineError
from ...openai.batches.ids import KnownIds
from ...openai.batches.journal import Journal
from ...openai.batches.source import open_answers
from ...openai.stored.folder import lock, sync_folder
from .columns import columns_of

JOURNAL = ".journal.jsonl"
"""Lines that are in no Parquet file yet. Ray and others do not read files with such names."""
PART, DRAFT = "part-{:06}.parquet", ".draft"
PART_ROWS, PART_BYTES = 10_000, 16 << 20
"""Of lines, after which they become a file."""


class Answers(Protocol):
    ids: KnownIds
    """Of the requests that have an answer here."""

    def add(self, id: str, line: bytes) -> bool:
        """False: there is one already, and this one is dropped. Raises OSError."""

    def finish(self) -> None:
        """All are there."""

    def close(self) -> None:
        """Whoever opens it next goes on."""


class LineAnswers:
    """A file that is its own journal."""

    def __init__(self, target: Path) -> None:
        self._journal = open_answers(target)
        self.ids = self._journal.ids

    def add(self, id: str, line: bytes) -> bool:
        if id in self.ids:
            return False
        self._journal.add(line, id)
        return True

    def finish(self) -> None:
        self._journal.sync()

    def close(self) -> None:
        self._journal.close()


class PartAnswers:
    """Lines gather in a journal, and whole journals become Parquet files: a file has all of its
    journal's lines, so that one id tells whether a journal was written and only not removed."""

    def __init__(self, folder: Path, write: "WritePart", ids_in: "IdsIn") -> None:
        self._folder, self._write = folder, write
        self._held = _hold(folder)
        try:
            self.ids = KnownIds()
            self._count = 0
            for part in sorted(folder.glob("part-*.parquet")):
                for id in ids_in(part):
                    self.ids.add(id)
                self._count = 1 + int(part.stem.removeprefix("part-"))
            self._journal = self._left()
        except BaseException:
            os.close(self._held)
            raise
        if self._journal.size:
            self._seal()

    def add(self, id: str, line: bytes) -> bool:
        if id in self.ids:
            return False
        self._journal.add(line, id)
        self.ids.add(id)
        if len(self._journal.ids) >= PART_ROWS or self._journal.size >= PART_BYTES:
            self._seal()
        return True

    def finish(self) -> None:
        if self._journal.size:
            self._seal()
        self._journal.close()
        self._path.unlink()

    def close(self) -> None:
        self._journal.close()
        if self._held >= 0:
            os.close(self._held)
        self._held = -1

    @property
    def _path(self) -> Path:
        return self._folder / JOURNAL

    def _left(self) -> Journal:
        """The journal of a run before, if its lines are in no file."""
        journal = Journal(self._path)
        lines = self._lines()
        first = next(lines, None)
        lines.close()
        if first is not None and columns_of([first])["custom_id"][0] in self.ids:
            journal.close()
            self._path.unlink()
            return Journal(self._path)
        return journal

    def _lines(self) -> Generator[bytes, None, None]:
        with open(self._path, "rb") as file:
            yield from file

    def _seal(self) -> None:
        """The journal's lines become a file, and there is a new journal."""
        columns = columns_of(self._lines())
        draft, part = self._folder / DRAFT, self._folder / PART.format(self._count)
        self._write(draft, columns)
        with open(draft, "rb") as file:
            os.fsync(file.fileno())
        os.rename(draft, part)
        sync_folder(self._folder)
        self._count += 1
        for id in columns["custom_id"]:
            self.ids.add(id)
        self._journal.close()
        self._path.unlink()
        self._journal = Journal(self._path)


Columns = dict[str, list[Any]]
WritePart = Callable[[Path, Columns], None]
IdsIn = Callable[[Path], Iterator[str]]


def _hold(folder: Path) -> int:
    """Raises EngineError where it is not ours, or not now."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strange = next((name for name in os.listdir(folder) if not _is_ours(name)), None)
        if strange is not None:
            text = "has files of others: name another folder, or remove them"
            raise EngineError(f"{str(folder)!r} {text}.")
        held = lock(folder, wait=False)
    except OSError as error:
        raise EngineError(f"{str(folder)!r} cannot be written: {error.strerror}.") from None
    if held is None:
        raise EngineError(f"Another run writes into {str(folder)!r}.")
    return held


def _is_ours(name: str) -> bool:
    number = name.removeprefix("part-").removesuffix(".parquet")
    return name in (JOURNAL, DRAFT) or (number.isdecimal() and PART.format(int(number)) == name)
