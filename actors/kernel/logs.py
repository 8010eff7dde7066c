"""One log for all processes of an engine: a line per event, as text or as JSON, in which nothing
that a caller sent begins a line of its own."""

import logging
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

import msgspec

from ...protocol.config.logs import LogFormat, LogLevel, told

ONCE_SECONDS = 1.0
"""Within which the same is said once."""
MOST_KEPT = 256
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SEPARATORS = re.compile("[\x7f-\x9f\u2028\u2029]")
"""Which JSON leaves as they are, though many a reader begins a line at one."""
FIELDS = "fields"
"""Of a record: what its message says, by name. Such a line is for one request, and never one too
many."""


def configure_logging(role: str, epoch: int = 0, stream: TextIO | None = None) -> None:
    """On `stream`, by default stderr; level and form as the operator has told. `epoch` 0: there is
    one such process."""
    level, form = told()
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter_of(form, role, epoch))
    handler.addFilter(Once(time.monotonic))
    configure(handler, level)


def configure(handler: logging.Handler, level: LogLevel) -> None:
    """What libraries have to say for their own developers is never asked for."""
    least = getattr(logging, level.upper())
    logging.basicConfig(level=max(least, logging.INFO), handlers=[handler], force=True)
    logging.getLogger("thespis").setLevel(least)


def formatter_of(form: LogFormat, role: str, epoch: int = 0) -> logging.Formatter:
    return JsonLines(role, epoch) if form == "json" else TextLines(role, epoch)


def one_line(text: str) -> str:
    """`text` without what would end a line, move a cursor or colour a terminal."""
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class TextLines(logging.Formatter):
    """Time, level, role, event. A traceback's lines are set in: none looks like an event."""

    def __init__(self, role: str, epoch: int) -> None:
        name = f"{role}.{epoch}" if epoch else role
        super().__init__(f"%(asctime)s %(levelname)s {name} %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # another handler's
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = one_line(record.message) + _repeats(record)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        lines = super().formatException(ei).split("\n")
        return "\n".join("    " + one_line(line) for line in lines)


class JsonLines(logging.Formatter):
    """An object a line: time (UTC), level, role, event, what the event says by name, and the
    traceback as one text."""

    def __init__(self, role: str, epoch: int) -> None:
        super().__init__()
        self._who: dict[str, str | int] = {"role": role}
        if epoch:
            self._who["epoch"] = epoch

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{clock}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            **self._who,
            "event": _encodable(record.getMessage() + _repeats(record)),
            **{name: _told(value) for name, value in getattr(record, FIELDS, {}).items()},
        }
        if record.exc_info:
            line["exception"] = _encodable(self.formatException(record.exc_info))
        text = msgspec.json.encode(line).decode()
        return _SEPARATORS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Once(logging.Filter):
    """Lets the same through once in a second, and counts the rest, which the next one tells."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock, self._lock = clock, threading.Lock()
        self._said: dict[tuple[str, int, str], list[float]] = {}
        """By what is said: when, and how often it was kept back since."""

    def filter(self, record: logging.LogRecord) -> bool:
        if hasattr(record, FIELDS):
            return True
        now, what = self._clock(), (record.name, record.levelno, record.getMessage())
        with self._lock:  # a handler takes its own after the filters
            return self._is_new(record, what, now)

    def _is_new(self, record: logging.LogRecord, what: tuple[str, int, str], now: float) -> bool:
        before = self._said.pop(what, None)
        if before is not None and now - before[0] < ONCE_SECONDS:
            self._said[what] = [before[0], before[1] + 1]
            return False
        record.repeated = 0 if before is None else int(before[1])
        self._said[what] = [now, 0]
        if len(self._said) > MOST_KEPT:
            del self._said[next(iter(self._said))]
        return True


def _repeats(record: logging.LogRecord) -> str:
    count = getattr(record, "repeated", 0)
    return f" (and {count} times more since)" if count else ""


def _told(value: Any) -> Any:
    return _encodable(value) if isinstance(value, str) else value


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
