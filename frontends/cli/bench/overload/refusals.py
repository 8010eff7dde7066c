"""What the server says of itself: how soon it refused, by its own clock, and which processes were
restarted."""

import re

import aiohttp

_BUCKET = re.compile(r'^thespis_refusal_seconds_bucket\{le="([^"]+)",[^}]*\} (\S+)$', re.MULTILINE)
_RESTARTS = re.compile(r"^thespis_restarts_total\{[^}]*\} (\S+)$", re.MULTILINE)


class Refusals:
    """Counts below each bound, in seconds; one scrape, or the difference of two. And how often
    processes were restarted."""

    def __init__(self, below: dict[float, float], restarts: int) -> None:
        self.below = below
        self.restarts = restarts

    @classmethod
    async def scrape(cls, url: str) -> "Refusals":
        async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
            text = await response.text()
        restarts = sum(int(float(count)) for count in _RESTARTS.findall(text))
        return cls({float(bound): float(count) for bound, count in _BUCKET.findall(text)}, restarts)

    def since(self, before: "Refusals") -> "Refusals":
        below = {bound: count - before.below.get(bound, 0.0) for bound, count in self.below.items()}
        return Refusals(below, self.restarts - before.restarts)

    @property
    def count(self) -> int:
        return int(max(self.below.values(), default=0))

    def share_within(self, seconds: float) -> float:
        """`seconds` must be one of the bounds."""
        return self.below[seconds] / self.count if self.count else 1.0

    def quantile(self, share: float) -> float:
        """Seconds, by straight lines between the bounds."""
        wanted, low, before = share * self.count, 0.0, 0.0
        for bound, count in sorted(self.below.items()):
            if count >= wanted and count > before:
                return (
                    low
                    if bound == float("inf")
                    else low + (bound - low) * (wanted - before) / (count - before)
                )
            low, before = bound, count
        return low
