"""The figures of a campaign, as a table for people and as JSON, and whether every bound is kept."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .calm import Calm, Gap, quantile
from .judge import OVERLOAD, Outcome
from .processes import Change, Processes
from .shares import Shares, told
from .shot import MEBIBYTE

LARGE = 64 * MEBIBYTE
"""Bytes of a body from which on streams may wait a little longer."""
WAITING = {False: 0.1, True: 0.25}
"""Seconds above the undisturbed p99.9 that a stream's longest gap may be, without and beside a
large body."""
AFTERMATH = 0.5
"""Seconds for which a large body is still felt."""
OVERLOADED = 0.1
"""The share of cases that may be refused for want of room: with more, nothing has been tried."""
SHOWN = 40
FEW = 5
"""Of the longest gaps are told one by one."""


@dataclass
class Report:
    seed: int
    biggest: int
    began: float = 0.0
    """When the first case was put, by `time.monotonic`."""
    seconds: float = 0.0
    undisturbed: float = 0.0
    """Seconds: the p99.9 of the calm streams' gaps without a hostile case."""
    outcomes: list[Outcome] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    shares: Shares | None = None
    """Who had a processor meanwhile."""
    answers: int = 0
    pictures: int = 0
    wrongs: int = 0
    """Calm answers that differed, or broke."""
    wrong: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    replaced: int = 0
    grown: dict[str, float] = field(default_factory=dict)
    kept: dict[str, float] = field(default_factory=dict)
    """What was left of that at the end."""
    pickled: bool = False
    """A pickle has been loaded."""

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def take(self, calm: Calm, processes: Processes) -> None:
        self.gaps = list(
            calm.gaps
        )  # the streams go on to their ends, and what is done meanwhile is nobody's matter
        self.answers, self.pictures = calm.answers, calm.pictures
        self.wrong, self.wrongs = calm.wrong, calm.wrongs
        self.changes, self.replaced = processes.changes, processes.replaced
        self.grown, self.kept = processes.grown, processes.kept

    def replay(self, number: int) -> str:
        return (
            f"scripts/dev hostile --seed {self.seed} --max-body-mb {self.biggest / MEBIBYTE:g} "
            f"--only {number}"
        )

    def line(self, outcome: Outcome) -> str:
        statuses = ", ".join(map(str, outcome.statuses[:5])) or "none"
        faults = "; ".join(outcome.faults) or "as it should be"
        return (
            f"case {outcome.number} ({outcome.kind}: {outcome.what}): status {statuses}, "
            f"{outcome.seconds:.2f} s: {faults}"
        )

    @property
    def overloaded(self) -> int:
        return sum(
            status in OVERLOAD for outcome in self.outcomes for status in outcome.statuses[:1]
        )

    def longest(self, large: bool) -> Gap:
        """The longest gap of a calm stream, without or beside a large body."""
        spans = [(o.began, o.ended + AFTERMATH) for o in self.outcomes if o.size > LARGE]
        found = (
            gap
            for gap in self.gaps
            if any(gap.start < end and start < gap.end for start, end in spans) == large
        )
        return max(found, key=lambda gap: gap.seconds, default=Gap(0.0, 0.0))

    def beside(self, start: float, end: float) -> str:
        """The cases that were under way at a time."""
        return (
            " or ".join(self.replay(o.number) for o in self.under_way(start, end)[:4])
            or "no case under way"
        )

    def under_way(self, start: float, end: float) -> list[Outcome]:
        return [o for o in self.outcomes if o.began < end and start < o.ended + AFTERMATH]

    def why(self, gap: Gap) -> str:
        """Who ran on the way of a stream that waited, and who had no processor."""
        return "no account" if self.shares is None else told(self.shares.during(gap))

    @property
    def longest_few(self) -> list[Gap]:
        """The longest gaps that do not overlap."""
        found: list[Gap] = []
        for gap in sorted(self.gaps, key=lambda gap: -gap.seconds):
            if all(gap.end <= other.start or other.end <= gap.start for other in found):
                found.append(gap)
            if len(found) == FEW:
                break
        return found

    @property
    def failures(self) -> list[str]:
        """Every bound that is missed, and how to see it again."""
        found = [f"{self.line(o)}\n    {self.replay(o.number)}" for o in self.outcomes if o.faults]
        found += [
            f"the process {c.title!r} ended\n    {self.beside(c.time - 4.0, c.time)}"
            for c in self.changes
        ]
        for large in (False, True):
            gap, bound = self.longest(large), self.undisturbed + WAITING[large]
            if gap.seconds > bound:
                beside = "beside a large body" if large else "without a large body"
                text = (
                    f"a calm stream waited {gap.seconds * 1000:.0f} ms {beside}, of "
                    f"{bound * 1000:.0f}"
                )
                found.append(f"{text}\n    {self.why(gap)}\n    {self.beside(gap.start, gap.end)}")
        if self.wrongs:
            found.append(
                f"{self.wrongs} calm answers were not as undisturbed: {'; '.join(self.wrong)}"
            )
        if self.pickled:
            found.append("a pickle was loaded")
        if self.outcomes and self.overloaded > max(3, OVERLOADED * len(self.outcomes)):
            found.append(
                f"{self.overloaded} of {len(self.outcomes)} cases were refused for want of room: "
                f"they tried nothing"
            )
        return found

    @property
    def good(self) -> bool:
        return bool(self.outcomes) and not self.failures

    def table(self) -> str:
        rows: list[tuple[str, ...]] = [
            ("kind", "cases", "2xx", "4xx", "429, 503", "5xx", "no answer", "slowest s")
        ]
        for kind in sorted({outcome.kind for outcome in self.outcomes}):
            mine = [outcome for outcome in self.outcomes if outcome.kind == kind]
            classes = Counter(_class_of(outcome) for outcome in mine)
            names = ("2xx", "4xx", "429, 503", "5xx", "no answer")
            slowest = max(outcome.seconds for outcome in mine)
            rows.append(
                (kind, str(len(mine)), *(str(classes[name]) for name in names), f"{slowest:.2f}")
            )
        lines = [
            "| " + " | ".join(row) + " |" for row in (rows[0], ("---", *["---:"] * 7), *rows[1:])
        ]
        failures = self.failures
        shown = [f"- MISSED: {text}" for text in failures[:SHOWN]]
        if len(failures) > SHOWN:
            shown.append(f"- MISSED: and {len(failures) - SHOWN} more")
        return "\n".join([*lines, "", *self._sums(), *shown])

    def _sums(self) -> list[str]:
        count, bound = len(self.outcomes), self.undisturbed
        small, large = self.longest(False).seconds, self.longest(True).seconds
        grown = ", ".join(
            f"{title.removeprefix('thespis ')} {size:+.0f} ({self.kept.get(title, 0.0):+.0f})"
            for title, size in sorted(self.grown.items())
        )
        sizes = sorted(outcome.size for outcome in self.outcomes) or [0]
        slow = max(
            self.outcomes, key=lambda outcome: outcome.seconds / outcome.allowed, default=None
        )
        slowest = "none" if slow is None else f"{slow.seconds:.2f} s of {slow.allowed:.0f}"
        return [
            f"- seed {self.seed}, {count} cases in {self.seconds:.0f} s; the largest of "
            f"{sizes[-1] / MEBIBYTE:.0f} MiB, "
            f"the middle one of {sizes[len(sizes) // 2] / 1024:.1f} KiB, "
            f"{sum(sizes) / MEBIBYTE:.0f} MiB in all",
            f"- 5xx: {sum(_class_of(outcome) == '5xx' for outcome in self.outcomes)}, "
            f"refused for want of room: {self.overloaded}",
            f"- processes changed: {len(self.changes)} ({self.replaced} that are there to be "
            f"killed, counted apart)",
            f"- calm answers: {self.answers} texts and {self.pictures} pictures, {self.wrongs} "
            f"not as undisturbed",
            f"- longest gap of a calm stream: {small * 1000:.0f} ms, beside a body above 64 MiB "
            f"{large * 1000:.0f} ms; p99.9 "
            f"{quantile(self.gaps, 0.999) * 1000:.0f} ms, undisturbed {bound * 1000:.0f} ms",
            f"- largest growth (and what was left of it at the end), MiB: {grown}",
            f"- slowest case, by what it may take: {slowest}",
        ]

    def waits(self) -> str:
        """The longest gaps, each with its cause as far as the kernel tells it."""
        lines = ["The longest gaps of the calm streams:"]
        for gap in self.longest_few:
            others = sum(other.start < gap.end and gap.start < other.end for other in self.gaps) - 1
            when = (
                f"at {gap.start - self.began:.1f} s, after {gap.said} tokens, beside {others} "
                f"gaps of the others"
            )
            lines.append(f"  {gap.seconds * 1000:.0f} ms {when}: {self.why(gap)}")
            lines += [
                f"      beside {self.line(o)[:150]}, {o.size:,} bytes"
                for o in self.under_way(gap.start, gap.end)[:8]
            ]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "max_body_mb": self.biggest / MEBIBYTE,
            "cases": dict(Counter(outcome.kind for outcome in self.outcomes)),
            "statuses": dict(
                Counter(str(status) for o in self.outcomes for status in o.statuses[:1])
            ),
            "codes": dict(Counter(code for o in self.outcomes for code in o.codes[:1])),
            "seconds": round(self.seconds, 1),
            "refused_for_want_of_room": self.overloaded,
            "processes_changed": [change.title for change in self.changes],
            "expendable_replaced": self.replaced,
            "calm": {
                "answers": self.answers,
                "pictures": self.pictures,
                "not_as_undisturbed": self.wrongs,
            },
            "undisturbed_p999_ms": round(self.undisturbed * 1000, 1),
            "longest_gap_ms": round(self.longest(False).seconds * 1000, 1),
            "longest_gap_beside_large_ms": round(self.longest(True).seconds * 1000, 1),
            "grown_mib": {title: round(size, 1) for title, size in sorted(self.grown.items())},
            "kept_mib": {title: round(size, 1) for title, size in sorted(self.kept.items())},
            "slowest_seconds": round(
                max((outcome.seconds for outcome in self.outcomes), default=0.0), 2
            ),
            "failures": self.failures,
        }


def _class_of(outcome: Outcome) -> str:
    if not outcome.statuses:
        return "no answer"
    status = outcome.statuses[0]
    return "429, 503" if status in OVERLOAD else f"{status // 100}xx"
