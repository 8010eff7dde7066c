"""The file of requests of `thespis run-batch`, and what its answers are written into."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ....protocol.errors import EngineError, RequestError
from .ids import KnownIds
from .journal import PIECE, Journal, lines_of
from .lines import MAX_LINE, ROW_START, Line, read_line


class Placed(NamedTuple):
    line: Line
    number: int
    """From 1 on."""
    start: int
    """Of its bytes in the file."""


def read_source(source: str) -> Iterator[Placed]:
    """Raises EngineError that names the line."""
    try:
        with open(source, "rb", PIECE) as file:
            yield from _placed(source, file)
    except RequestError as error:
        raise EngineError(f"{source!r}: {error}") from None
    except OSError as error:
        raise EngineError(f"{source!r} cannot be read: {error.strerror}.") from None


def _placed(source: str, file: BinaryIO) -> Iterator[Placed]:
    for number, data in lines_of(file):
        if data is None:
            text = f"it has more than {MAX_LINE >> 20} MiB"
            raise EngineError(f"{source!r}, line {number}: {text}.")
        try:
            line = read_line(data, None)
        except RequestError as error:
            raise EngineError(f"{source!r}, line {number}: {error}") from None
        yield Placed(line, number, file.tell() - len(data))


def checked_source(source: str, paths: Collection[str]) -> Iterator[Placed]:
    """The same, of `paths` alone, and each `custom_id` once. Raises EngineError."""
    known = KnownIds()
    for found in read_source(source):
        where = f"{source!r}, line {found.number}"
        if found.line.url not in paths:
            raise EngineError(f"{where}: `url` is one of {', '.join(paths)}.")
        if found.line.custom_id in known:
            raise EngineError(f"{where}: this `custom_id` comes twice.")
        known.add(found.line.custom_id)
        yield found
    if not len(known):
        raise EngineError(f"{source!r} has no requests.")


def open_answers(target: Path) -> Journal:
    """For this process alone. What is no file of answers is somebody's: nothing is written into it.
    Raises EngineError."""
    _check_answers(target)
    try:
        journal = Journal(target, hold=True)
    except BlockingIOError:
        raise EngineError(f"Another run writes into {str(target)!r}.") from None
    except OSError as error:
        raise EngineError(f"{str(target)!r} cannot be written: {error.strerror}.") from None
    return journal


def _check_answers(target: Path) -> None:
    try:
        with open(target, "rb") as file:
            head = file.read(len(ROW_START))
    except FileNotFoundError:
        return
    except OSError as error:
        raise EngineError(f"{str(target)!r} cannot be read: {error.strerror}.") from None
    if not ROW_START.startswith(head):
        text = "has no answers of a run before: name another file by -o, or remove it"
        raise EngineError(f"{str(target)!r} {text}.")
