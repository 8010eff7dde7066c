"""A file of timelines that Chrome's tracing page and Perfetto read: each call is a process of it,
its stages and its items are threads."""

import os
import stat
import time
from collections.abc import Iterator
from os import SEEK_END
from pathlib import Path
from typing import Any

import msgspec

from ....protocol.errors import EngineError
from ...client.timeline import StageTime
from .call import EndedCall

MOST_BYTES = 64 << 20
"""Of the file; calls that come later are not in it."""
_OPEN, _CLOSE = b"[\n", b"\n]\n"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
"""A pipe that nobody reads is not waited for."""


class ChromeFile:
    """Whole JSON after every call."""

    def __init__(self, path: str | Path, most: int = MOST_BYTES) -> None:
        """Goes on with what a predecessor of this server has written. OSError where it cannot be
        read and written."""
        self._most = most
        # it is open for as long as this lives
        self._file = Path(os.path.expanduser(path)).open("r+b")  # noqa: SIM115
        self._size = max(len(_OPEN), self._file.seek(0, SEEK_END) - len(_CLOSE))
        self._calls = time.monotonic_ns() // 1_000_000  # no number of theirs

    def tell(self, call: EndedCall) -> None:
        self._calls += 1
        events = b",\n".join(map(msgspec.json.encode, events_of(call, self._calls)))
        if self._size + len(events) > self._most:
            return
        self._file.seek(self._size)
        if self._size > len(_OPEN):
            events = b",\n" + events
        self._file.write(events + _CLOSE)
        self._file.flush()
        self._size += len(events)

    def close(self) -> None:
        self._file.close()


def begin(path: str | Path) -> None:
    """An empty file. Raises EngineError where it cannot be written."""
    try:
        file = os.open(os.path.expanduser(path), _FLAGS, 0o666)
        with os.fdopen(file, "wb") as stream:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise EngineError("--trace-out: that is no file.")
            stream.truncate()
            stream.write(_OPEN + _CLOSE)
    except OSError as error:
        raise EngineError(f"--trace-out: the file cannot be written: {error.strerror}.") from error


def events_of(call: EndedCall, number: int) -> Iterator[dict[str, Any]]:
    """`number`: of the call in its file."""
    timeline, start = call.timeline, call.began

    def event(thread: int, stage: StageTime, **about: Any) -> dict[str, Any]:
        return {
            "name": stage.name,
            "ph": "X",
            "ts": round((start + stage.start) * 1e6),
            "dur": round(stage.seconds * 1e6),
            "pid": number,
            "tid": thread,
            "args": about,
        }

    yield _name("process_name", number, 0, f"request {call.id}")
    yield _name("thread_name", number, 0, "call")
    whole = StageTime(call.path, 0.0, call.ended - call.began)
    tokens = {"prompt": call.prompt_tokens, "completion": call.completion_tokens}
    yield event(0, whole, id=call.id, error=call.error, tokens=tokens)
    for at, stage in enumerate(timeline.stages, 1):
        yield _name("thread_name", number, at, stage.name)
        yield event(at, stage)
    for at, item in enumerate(timeline.items, 1 + len(timeline.stages)):
        place = "" if item.message is None else f" {item.message}.{item.part}"
        yield _name("thread_name", number, at, f"{item.kind}{place}")
        for stage in item.stages:
            yield event(at, stage, hit=item.hit, bytes=item.bytes)


def _name(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
