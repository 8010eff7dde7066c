"""The figures of a campaign, as a table for people and as JSON, and whether they are what was
promised."""

import statistics
from collections import Counter
from dataclasses import dataclass, field
from math import inf
from typing import Any

from thespis.tests.helpers.logs import said_twice

from .load import Wrong
from .strike import Strike

BUSY = 8
"""Streams between first and last token that a kill should meet."""
BUSY_SHARE = 0.8
LEASE = 3.0
"""Seconds; the director's default."""
AIM, LATE = 3.0, 20.0
"""Seconds of a recovery: aimed at, and at most, whatever else the machine does. A stop's begins
with the end of its lease."""
SOON = 0.5
"""Seconds within which /health should tell of a death."""
LATER = ("janitor", "memory")
"""Faults whose death comes a little after the blow."""
SHOWN = 20
"""Lines of the log."""
UNSEEN = 0.1
"""Seconds by which two clients may hear of it at other times."""


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
    held: dict[str, float] = field(default_factory=dict)
    """What processes still had of requests when all were over."""
    restarts: Counter[str] = field(default_factory=Counter)
    """Of processes that nobody had struck, by role: false deaths, or crashes of their own."""
    by_hand: int = 0
    """Memory faults that were ordinary kills: this machine lets nobody make control groups."""
    repeated: list[str] = field(default_factory=list)
    """Lines that one process said twice within a second."""
    lines: int = 0
    """Of the logs."""
    faults: list[str] = field(default_factory=list)
    """What went wrong with an engine as a whole."""

    def read_log(self, log: str) -> None:
        """Of an engine that was struck."""
        self.lines += log.count("\n")
        self.repeated += said_twice(log)

    @property
    def kills(self) -> Counter[str]:
        return Counter(role for strike in self.strikes for role in strike.fault.roles)

    @property
    def busy_share(self) -> float:
        met = [strike.between >= BUSY for strike in self.strikes]
        return sum(met) / len(met) if met else 0.0

    @property
    def live(self) -> bool:
        """/live was 200 whenever it was asked."""
        return all(strike.seen.live for strike in self.strikes if strike.seen is not None)

    @property
    def failures(self) -> list[str]:
        """What was not as promised, beside what became of the requests."""
        late = [
            f"{s.fault}: whole again after {_recovery(s):.1f} s"
            for s in self.strikes
            if _recovery(s) > LATE
        ]
        unseen = [
            f"{s.fault}: /health was not 503 in {s.known:.2f} s"
            for s in self.strikes
            if _is_unseen(s)
        ]
        restarts = [
            f"{role} was restarted {count} times by itself"
            for role, count in sorted(self.restarts.items())
        ]
        held = [f"{name} {count:g} held at the end" for name, count in self.held.items()]
        live = [] if self.live else ["/live was not 200"]
        again = [f"said twice within a second: {line}" for line in self.repeated[:SHOWN]]
        return [
            *self.faults,
            *again,
            *late,
            *unseen,
            *restarts,
            *live,
            *held,
            *self.orphans,
            *self.segments,
        ]

    @property
    def good(self) -> bool:
        return (
            not any(self.verdicts[bad] for bad in ("lost", "diverged", "poison"))
            and not self.failures
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "minutes": round(self.minutes, 1),
            "kills": dict(self.kills),
            "requests": dict(self.requests),
            "verdicts": dict(self.verdicts),
            "busy_share": round(self.busy_share, 3),
            "recovery_seconds": {
                name: _spread(values) for name, values in self._recoveries().items()
            },
            "health_503_seconds": {
                name: _spread(seen) | {"deaths": met}
                for name, (seen, met) in self._healths().items()
            },
            "live_always_200": self.live,
            "rss_mib_per_minute": {
                role: round(slope, 2) for role, (slope, _) in self.slopes.items()
            },
            "held": self.held,
            "orphans": self.orphans,
            "segments": self.segments,
            "unasked_restarts": dict(self.restarts),
            "log_lines": self.lines,
            "log_lines_repeated": len(self.repeated),
            "failures": self.failures,
            "wrong": [
                f"{w.judgement.verdict}: {w.face} {w.ask}: {w.judgement.why}" for w in self.wrong
            ],
        }

    def table(self) -> str:
        recoveries, rows = self._recoveries(), []
        for role, count in sorted(self.kills.items()):
            slope, size = self.slopes.get(role, (None, None))
            grown = "-" if slope is None else f"{slope:+.2f} ({size:.0f})"
            rows.append((role, str(count), *_cells(recoveries.get(role)), grown))
        for role in sorted(set(self.slopes) - set(self.kills)):
            rows.append(
                (role, "0", "-", "-", f"{self.slopes[role][0]:+.2f} ({self.slopes[role][1]:.0f})")
            )
        for kind in _WORDS:
            if kind in recoveries:
                rows.append(
                    (
                        f"({_WORDS[kind]})",
                        str(len(recoveries[kind])),
                        *_cells(recoveries[kind]),
                        "-",
                    )
                )
        head = ("process", "kills", "recovery p50 s", "max s", "RSS MiB/min (MiB)")
        lines = ["| " + " | ".join(row) + " |" for row in (head, ("---", *["---:"] * 4), *rows)]
        return "\n".join([*lines, "", *self._sums()])

    def _sums(self) -> list[str]:
        v, asked = (
            self.verdicts,
            ", ".join(f"{count} {face}" for face, count in sorted(self.requests.items())),
        )
        lines = [
            f"- seed {self.seed}, {self.minutes:.1f} minutes, {sum(self.kills.values())} kills "
            f"in {len(self.strikes)} faults; "
            f"{self.busy_share:.0%} of the faults met {BUSY} or more streams between first and "
            f"last token",
            f"- requests: {sum(self.requests.values())} ({asked}), {v['tokens']} tokens delivered",
            f"- lost {v['lost']}, diverged {v['diverged']} (ties, counted apart: {v['tie']}), "
            f"refused as poison {v['poison']}, "
            f"excused {v['excused']} (their own HTTP frontend was killed, or memory or files "
            f"were short by intent)",
            f"- cancelled {v['cancelled']} by intent (connection closed, task cancelled, "
            f"deadline), "
            f"{v['in recovery']} of them while a process was missing",
            f"- held at the end: {len(self.held)}; orphans {len(self.orphans)}, segments left "
            f"{len(self.segments)}, "
            f"restarts of processes that were not struck {self.restarts.total()}",
            f"- whole again within {AIM:.0f} s (after a stop, of the end of its lease): "
            f"{sum(_recovery(strike) <= AIM for strike in self.strikes)} of {len(self.strikes)}",
        ]
        lines.append(
            f"- lines of the log: {self.lines}, of them said twice within a second by one process: "
            f"{len(self.repeated)}"
        )
        for name, (seen, deaths) in self._healths().items():
            bound = SOON + LEASE * (name == "stop")
            lines.append(
                f"- /health was 503 within {bound} s of a {name}: "
                f"{sum(after <= bound for after in seen)} of {deaths}"
                + (f" (p50 {statistics.median(seen):.3f} s, max {max(seen):.3f} s)" if seen else "")
                + (
                    f"; whole again before it was asked: {deaths - len(seen)}"
                    if deaths > len(seen)
                    else ""
                )
            )
        if self.by_hand:
            lines.append(
                f"- of those killed for memory, by hand, for want of control groups: {self.by_hand}"
            )
        lines.append(f"- /live stayed 200: {'yes' if self.live else 'NO'}")
        return [*lines, *(f"- FAILURE: {text}" for text in self.failures)]

    def _recoveries(self) -> dict[str, list[float]]:
        """Seconds, by role for single kills, by kind for the others."""
        found: dict[str, list[float]] = {}
        for strike in self.strikes:
            name = strike.fault.roles[0] if strike.fault.kind == "kill" else strike.fault.kind
            if strike.recovery is not None:
                found.setdefault(name, []).append(strike.recovery)
        return found

    def _healths(self) -> dict[str, tuple[list[float], int]]:
        """Seconds from the first blow to 503, and how many deaths there were to be seen, for kills
        and for stops."""
        found: dict[str, tuple[list[float], int]] = {}
        for strike in self.strikes:
            if strike.seen is None or not _is_ill(strike) or strike.fault.kind in LATER:
                continue
            name = "stop" if strike.fault.kind == "stop" else "kill"
            seen, deaths = found.get(name, ([], 0))
            after = strike.seen.unhealthy_after
            found[name] = (seen if after is None else [*seen, after], deaths + 1)
        return found


def _recovery(strike: Strike) -> float:
    """Seconds; a stop counts from the end of its lease."""
    return (
        inf if strike.recovery is None else strike.recovery - LEASE * (strike.fault.kind == "stop")
    )


def _is_ill(strike: Strike) -> bool:
    """/health must tell of it. The zygote serves nobody: its death is no ill health."""
    return not strike.fault.harmless and set(strike.fault.roles) != {"zygote"}


def _is_unseen(strike: Strike) -> bool:
    """It lasted, and /health never told of it."""
    seen = strike.seen
    return (
        seen is not None
        and seen.unhealthy_after is None
        and _is_ill(strike)
        and strike.known > seen.gap + UNSEEN
    )


_WORDS = {
    "pair": "two at once",
    "chain": "one in another's recovery",
    "stop": "SIGSTOP",
    "full": "kill, then no shared memory",
    "janitor": "janitor, then a role",
    "memory": "killed by the kernel for memory",
    "signal": "SIGTERM or SIGHUP to one or all",
    "starve": "20 processes want the cores",
    "files": "no further file can be opened",
}


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {"count": 0}
    return {
        "p50": round(statistics.median(values), 3),
        "max": round(max(values), 3),
        "count": len(values),
    }


def _cells(values: list[float] | None) -> tuple[str, str]:
    return ("-", "-") if not values else (f"{statistics.median(values):.2f}", f"{max(values):.2f}")
