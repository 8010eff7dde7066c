"""The processes of this machine, by who has made them. Ray's are no session of their own."""

from pathlib import Path
from typing import NamedTuple


class Seen(NamedTuple):
    parent: int
    title: str
    """Its command line."""


def processes() -> dict[int, Seen]:
    """Those that live, by pid."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                state, parent = (entry / "stat").read_text().rsplit(") ", 1)[1].split()[:2]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if state != "Z":
                found[int(entry.name)] = Seen(int(parent), line.decode("utf-8", "replace"))
    return found


def descendants(pid: int) -> dict[int, str]:
    """Titles by pid of what comes from it; not its own."""
    alive, found = processes(), dict[int, str]()
    makers = [pid]
    for maker in makers:
        made = {one: seen.title for one, seen in alive.items() if seen.parent == maker}
        found |= made
        makers += made
    return found
