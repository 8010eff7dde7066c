"""Stop strings in a growing text: found across any cuts, and nothing released that may be the beginning of one."""


class StopFinder:
    """The earliest end of any stop string decides, and of those that end there the longest.

    `feed` takes text as it comes and returns what may be shown; after a match it takes no more.
    """

    __slots__ = ("_blind", "_held", "_include", "_stops")

    def __init__(self, stops: tuple[str, ...], include: bool = False) -> None:
        self._stops = stops
        self._include = include
        """Show the stop string itself (`include_stop_str_in_output`)."""
        self._held = ""
        """Text that may be the beginning of a stop string."""
        self._blind = 0
        """Characters of `_held` in which no stop string may end (before `min_tokens`)."""

    def feed(self, new: str, armed: bool = True) -> tuple[str, str | None]:
        """The text to show now, and the stop string that ended it. Not `armed`: no stop string may end in `new`."""
        if not self._stops:
            return new, None
        text = self._held + new
        if armed:
            match = self._match(text)
            if match is not None:
                start, end, stop = match
                self._held = ""
                return text[: end if self._include else start], stop
        else:
            self._blind = len(text)
        keep = self._beginning(text)
        self._held = text[keep:]
        self._blind = max(0, self._blind - keep)
        return text[:keep], None

    def flush(self) -> str:
        """What was held back, when the text ends otherwise."""
        held, self._held = self._held, ""
        return held

    def _match(self, text: str) -> tuple[int, int, str] | None:
        """(start, end, stop string) of the match that ends first."""
        best: tuple[int, int, str] | None = None
        for stop in self._stops:
            start = text.find(stop, max(0, self._blind - len(stop) + 1))
            if start >= 0:
                end = start + len(stop)
                if best is None or (end, start) < (best[1], best[0]):
                    best = (start, end, stop)
        return best

    def _beginning(self, text: str) -> int:
        """Where the longest tail of `text` that begins a stop string starts; len(text) where there is none."""
        keep = len(text)
        for stop in self._stops:
            start = text.find(stop[0], max(0, len(text) - len(stop) + 1))
            while 0 <= start < keep:
                if stop.startswith(text[start:]):
                    keep = start
                    break
                start = text.find(stop[0], start + 1)
        return keep
