"""Subtitles: SubRip and WebVTT. Pure."""

import html
from collections.abc import Iterable
from typing import NamedTuple


class Cue(NamedTuple):
    start: float
    end: float
    """Seconds."""
    text: str


def srt(lines: Iterable[Cue]) -> str:
    shown = (line for line in lines if line.text)
    return "".join(
        f"{number}\n{_times(line, ',')}\n{_flat(line.text).replace('-->', '->')}\n\n"
        for number, line in enumerate(shown, 1)
    )


def vtt(lines: Iterable[Cue]) -> str:
    """Text is escaped: what spells a tag is none."""
    shown = (line for line in lines if line.text)
    return "WEBVTT\n\n" + "".join(
        f"{_times(line, '.')}\n{html.escape(_flat(line.text), quote=False)}\n\n" for line in shown
    )


def _flat(text: str) -> str:
    """An empty line would end the cue."""
    return "\n".join(row for row in text.replace("\0", "\ufffd").splitlines() if row.strip())


def _times(line: Cue, mark: str) -> str:
    return f"{_time(line.start, mark)} --> {_time(line.end, mark)}"


def _time(seconds: float, mark: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest:02}{mark}{thousandths:03}"
