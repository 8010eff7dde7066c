"""Reading an engine's log."""

import re
from datetime import datetime

LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ([A-Z]+) (\S+) (.*)")
ACCESS = re.compile(r"[A-Z]+ /\S* \d{3} ")


def events(text: str) -> list[tuple[datetime, str, str, str]]:
    """When, at which level, who and what, of every line that begins an event."""
    found = (LINE.fullmatch(line) for line in text.splitlines())
    return [
        (datetime.strptime(one[1], "%Y-%m-%d %H:%M:%S,%f"), one[2], one[3], one[4])
        for one in found
        if one is not None
    ]


def access_lines(text: str) -> list[str]:
    return [what for *_, what in events(text) if ACCESS.match(what)]


def said_twice(text: str) -> list[str]:
    """What one process has said again within a second. A request's own line is said of each."""
    last: dict[tuple[str, str, str], datetime] = {}
    twice = []
    for when, *key in events(text):
        level, who, what = key
        if ACCESS.match(what):
            continue
        before = last.get((level, who, what))
        if before is not None and (when - before).total_seconds() < 0.99:
            twice.append(f"{who} {what}")
        last[level, who, what] = when
    return twice
