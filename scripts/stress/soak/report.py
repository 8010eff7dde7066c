"""The table of a soak: how each process grew, by the hour and by the request, and what is above its
bound."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .samples import Sample
from .trend import Trend, trend

HOUR = 3600.0
PER = 1000.0
"""Requests, of the second slope."""


class Bound(NamedTuple):
    """What a process may grow by: above it is who surely (by the fit) grows faster, and has grown
    by more than `least`."""

    per_hour: float
    least: float


BOUNDS: dict[str, Bound] = {
    "memory": Bound(1.0, 2.0),
    "shared": Bound(8.0, 8.0),
    "files": Bound(1.0, 3.0),
    "threads": Bound(0.5, 1.0),
    "segments": Bound(0.5, 1.0),
}
"""By field of `Sample`; memory in MiB. Shared memory of arenas is touched block by block until
their limits."""


@dataclass
class Series:
    """One process: when it was looked at, how many requests had ended by then, and what it held."""

    times: list[float] = field(default_factory=list)
    requests: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def by_time(self, name: str) -> Trend:
        """Per hour."""
        return trend(
            [time / HOUR for time in self.times],
            [float(getattr(one, name)) for one in self.samples],
        )

    def by_request(self, name: str) -> Trend:
        """Per 1,000 requests."""
        return trend(
            [count / PER for count in self.requests],
            [float(getattr(one, name)) for one in self.samples],
        )


@dataclass
class Report:
    seed: int
    rate: float
    minutes: float = 0.0
    warm: float = 0.0
    """Seconds at the beginning that are not fitted: caches and tables fill, buffers find their
    size."""
    counts: Counter[str] = field(default_factory=Counter)
    series: dict[str, Series] = field(default_factory=dict)
    """By process, "name pid"."""
    held: dict[str, float] = field(default_factory=dict)
    """What was held of requests when none was there any more."""
    tables: dict[str, float] = field(default_factory=dict)
    """Counters of caches and tables at the end, "role counter"."""
    restarts: dict[str, int] = field(default_factory=dict)

    @property
    def above(self) -> list[str]:
        """ "process: field", of everything that grew faster than its bound."""
        found: list[str] = []
        for process, series in self.fitted.items():
            for name, bound in BOUNDS.items():
                line = series.by_time(name)
                if line.low > bound.per_hour and line.growth > bound.least:
                    found.append(
                        f"{process}: {name} {line.slope:+.1f} an hour, {line.growth:+.1f} in all"
                    )
        return found

    @property
    def fitted(self) -> dict[str, Series]:
        """Every process after the time of warming up."""
        found: dict[str, Series] = {}
        for process, series in self.series.items():
            first = next(
                (index for index, time in enumerate(series.times) if time >= self.warm),
                len(series.times),
            )
            found[process] = Series(
                series.times[first:], series.requests[first:], series.samples[first:]
            )
        return {process: series for process, series in found.items() if len(series.times) >= 3}

    @property
    def good(self) -> bool:
        failed = self.counts["failed"] or self.held or any(self.restarts.values())
        return not failed and not self.above and bool(self.fitted) and self.counts["answered"] > 0

    def table(self) -> str:
        columns = (
            "process | memory MiB | an hour | surely between | per 1,000 requests | shared MiB | "
            "an hour | PSS | files "
            "| threads | segments"
        )
        lines = [f"| {columns} |", "| --- |" + " ---: |" * columns.count("|")]
        for process, series in sorted(self.fitted.items()):
            memory, shared, last = (
                series.by_time("memory"),
                series.by_time("shared"),
                series.samples[-1],
            )
            cells = (
                process.rpartition(" ")[0],
                f"{memory.last:.1f}",
                f"{memory.slope:+.2f}",
                f"{memory.low:+.2f} to {memory.high:+.2f}",
                f"{series.by_request('memory').slope:+.3f}",
                f"{shared.last:.1f}",
                f"{shared.slope:+.2f}",
                f"{last.pss:.1f}",
                *(
                    f"{getattr(last, name)} ({series.by_time(name).slope:+.1f})"
                    for name in ("files", "threads", "segments")
                ),
            )
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join([*lines, "", *self._words()])

    def _words(self) -> list[str]:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        held = ", ".join(f"{name} {value:g}" for name, value in self.held.items()) or "nothing"
        tables = ", ".join(f"{name} {value:g}" for name, value in self.tables.items() if value)
        restarts = {name: count for name, count in self.restarts.items() if count}
        return [
            f"- seed {self.seed}, {self.minutes:.1f} minutes at {self.rate:g} requests a second, "
            f"fitted from second {self.warm:.0f} on; requests: {counts}",
            f"- held when none was there any more: {held}; restarts: {restarts or 'none'}",
            f"- caches and tables at the end: {tables}",
            *(f"- ABOVE ITS BOUND: {text}" for text in self.above),
        ]

    def as_dict(self) -> dict[str, Any]:
        """With every sample, for other fits."""
        series = {
            process: [
                {"time": round(time, 1), "requests": requests, **one._asdict()}
                for time, requests, one in zip(of.times, of.requests, of.samples, strict=True)
            ]
            for process, of in self.series.items()
        }
        own = {
            name: getattr(self, name)
            for name in ("seed", "rate", "minutes", "warm", "held", "tables", "restarts")
        }
        return {**own, "counts": dict(self.counts), "above": self.above, "series": series}
