"""The figures of a campaign, as a table for people and as JSON, and whether they are what was promised."""

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .load import Wrong
from .strike import Strike

BUSY = 8
"""Streams between first and last token that a kill should meet."""
BUSY_SHARE = 0.8


@dataclass
class Report:
    seed: int
    minutes: float
    strikes: list[Strike] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    wrong: list[Wrong] = field(default_factory=list)
    slopes: dict[str, tuple[float, float]] = field(default_factory=dict)
    """MiB per minute and MiB, by process."""
    orphans: list[str] = field(default_factory=list)
    segments: list[str] = field(default_factory=list)
    restarts: int = 0
    """Of processes that nobody had struck: false deaths, or crashes of their own."""
    faults: list[str] = field(default_factory=list)
    """What went wrong with an engine as a whole."""

    @property
    def kills(self) -> Counter[str]:
        return Counter(role for strike in self.strikes for role in strike.fault.roles)

    @property
    def busy_share(self) -> float:
        met = [strike.between >= BUSY for strike in self.strikes]
        return sum(met) / len(met) if met else 0.0

    @property
    def good(self) -> bool:
        bad = (self.verdicts["lost"], self.verdicts["diverged"], self.verdicts["poison"])
        return not any(bad) and not self.orphans and not self.segments and not self.faults

    def as_dict(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "minutes": round(self.minutes, 1),
            "kills": dict(self.kills),
            "requests": dict(self.requests),
            "verdicts": dict(self.verdicts),
            "busy_share": round(self.busy_share, 3),
            "recovery_seconds": {name: _spread(values) for name, values in self._recoveries().items()},
            "health_503_seconds": {name: _spread(values) for name, values in self._healths().items()},
            "live_always_200": all(strike.seen.live for strike in self.strikes if strike.seen is not None),
            "rss_mib_per_minute": {role: round(slope, 2) for role, (slope, _) in self.slopes.items()},
            "orphans": self.orphans,
            "segments": self.segments,
            "unasked_restarts": self.restarts,
            "faults": self.faults,
            "wrong": [f"{w.judgement.verdict}: {w.face} {w.ask}: {w.judgement.why}" for w in self.wrong],
        }

    def table(self) -> str:
        recoveries, rows = self._recoveries(), []
        for role, count in sorted(self.kills.items()):
            slope, size = self.slopes.get(role, (None, None))
            grown = "-" if slope is None else f"{slope:+.2f} ({size:.0f})"
            rows.append((role, str(count), *_cells(recoveries.get(role)), grown))
        for role in sorted(set(self.slopes) - set(self.kills)):
            rows.append((role, "0", "-", "-", f"{self.slopes[role][0]:+.2f} ({self.slopes[role][1]:.0f})"))
        for kind in ("pair", "chain", "stop", "full"):
            if kind in recoveries:
                rows.append((f"({_WORDS[kind]})", str(len(recoveries[kind])), *_cells(recoveries[kind]), "-"))
        head = ("process", "kills", "recovery p50 s", "max s", "RSS MiB/min (MiB)")
        lines = ["| " + " | ".join(row) + " |" for row in (head, ("---", *["---:"] * 4), *rows)]
        return "\n".join([*lines, "", *self._sums()])

    def _sums(self) -> list[str]:
        v, asked = self.verdicts, ", ".join(f"{count} {face}" for face, count in sorted(self.requests.items()))
        lines = [
            f"- seed {self.seed}, {self.minutes:.1f} minutes, {sum(self.kills.values())} kills in {len(self.strikes)} faults; "
            f"{self.busy_share:.0%} of the faults met {BUSY} or more streams between first and last token",
            f"- requests: {sum(self.requests.values())} ({asked}), {v['tokens']} tokens delivered",
            f"- lost {v['lost']}, diverged {v['diverged']} (ties, counted apart: {v['tie']}), refused as poison {v['poison']}, "
            f"excused {v['excused']} (their own HTTP frontend was killed, or shared memory was full by intent)",
            f"- orphans {len(self.orphans)}, segments left {len(self.segments)}, "
            f"restarts of processes that were not struck {self.restarts}",
        ]
        for name, values in self._healths().items():
            lines.append(f"- /health was 503 after a {name}: p50 {statistics.median(values):.3f} s, max {max(values):.3f} s")
        lines.append(f"- /live stayed 200: {'yes' if self.as_dict()['live_always_200'] else 'NO'}")
        return [*lines, *(f"- FAULT: {text}" for text in (*self.faults, *self.orphans, *self.segments))]

    def _recoveries(self) -> dict[str, list[float]]:
        """Seconds, by role for single kills, by kind for the others."""
        found: dict[str, list[float]] = {}
        for strike in self.strikes:
            name = strike.fault.roles[0] if strike.fault.kind == "kill" else strike.fault.kind
            if strike.recovery is not None:
                found.setdefault(name, []).append(strike.recovery)
        return found

    def _healths(self) -> dict[str, list[float]]:
        """Seconds from a kill, or from a stop, to 503. The zygote serves nobody: its death is no ill health."""
        found: dict[str, list[float]] = {}
        for strike in self.strikes:
            if strike.seen is not None and strike.seen.unhealthy_after is not None and strike.fault.kind in ("kill", "stop"):
                found.setdefault(strike.fault.kind, []).append(strike.seen.unhealthy_after)
        return found


_WORDS = {
    "pair": "two at once",
    "chain": "one in another's recovery",
    "stop": "SIGSTOP",
    "full": "kill, then no shared memory",
}


def _spread(values: list[float]) -> dict[str, float]:
    return {"p50": round(statistics.median(values), 3), "max": round(max(values), 3), "count": len(values)}


def _cells(values: list[float] | None) -> tuple[str, str]:
    return ("-", "-") if not values else (f"{statistics.median(values):.2f}", f"{max(values):.2f}")
