"""The figures of a run, as a table and as JSON, and whether they are what was promised."""

import statistics
from dataclasses import dataclass, field
from typing import Any

from .phases import Phase
from .refusals import Refusals

REFUSAL_SECONDS = 0.02
AT_LEAST = {
    "refused within 20 ms": 0.95,
    "answered at 10x, of 1x": 0.95,
    "answered 5 s after, of before": 0.95,
}
AT_MOST = {
    "p50 5 s after, of before": 1.25,
    "memory at the flood's end, of its beginning": 1.05,
    "memory after, of before": 1.05,
    "broken": 0.0,
    "restarts": 0.0,
}


@dataclass
class Report:
    capacity: float
    """Whole answers per second of a closed loop."""
    before: Phase
    flood: Phase
    after: Phase
    refusals: Refusals
    memory: dict[str, float] = field(default_factory=dict)
    """MiB (PSS) of all processes but the GPU runner, by moment: the runner's grows until its KV
    cache has been used everywhere."""

    def ratios(self) -> dict[str, float]:
        """What is promised, each as one number. 1x is the better of the two, as other work may have
        disturbed one."""
        m = self.memory
        return {
            "refused within 20 ms": self.refusals.share_within(REFUSAL_SECONDS),
            "answered at 10x, of 1x": _of(
                self.flood.goodput, max(self.before.goodput, self.after.goodput)
            ),
            "answered 5 s after, of before": _of(self.after.goodput, self.before.goodput),
            "p50 5 s after, of before": _of(
                _at(self.after.latencies, 0.5), _at(self.before.latencies, 0.5)
            ),
            "memory at the flood's end, of its beginning": m["flood ends"] / m["flood begins"],
            "memory after, of before": m["after"] / m["before"],
            "broken": float(sum(phase.broken for phase in self._phases().values())),
            "restarts": float(self.refusals.restarts),
        }

    def table(self) -> str:
        lines = [
            "| load | offered/s | answered/s | of 1x | p50 s | p95 s | refused | broken |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for name, phase in self._phases().items():
            share = _of(phase.goodput, self.before.goodput)
            p50, p95 = _at(phase.latencies, 0.5), _at(phase.latencies, 0.95)
            lines.append(
                f"| {name} | {phase.offered:.1f} | {phase.goodput:.1f} | {share:.2f} | {p50:.2f} "
                f"| {p95:.2f} "
                f"| {phase.count(429) + phase.count(503)} | {phase.broken} |"
            )
        quantiles = ", ".join(
            f"p{share * 100:.0f} {self.refusals.quantile(share) * 1000:.1f} ms"
            for share in (0.5, 0.95, 0.99)
        )
        return "\n".join(
            [
                *lines,
                "",
                f"- a closed loop carries {self.capacity:.1f} answers/s",
                f"- {self.refusals.count} refusals, by the server's clock from head to answer: "
                f"{quantiles}",
                f"- processes restarted during the flood: {self.refusals.restarts}",
                f"- memory of all processes but the GPU runner (PSS, MiB): "
                f"{', '.join(f'{name} {mib:.0f}' for name, mib in self.memory.items())}",
            ]
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "capacity": self.capacity,
            "phases": {
                name: {
                    "offered": phase.offered,
                    "goodput": phase.goodput,
                    "p50": _at(phase.latencies, 0.5),
                    "p95": _at(phase.latencies, 0.95),
                    "refused": phase.count(429) + phase.count(503),
                    "broken": phase.broken,
                }
                for name, phase in self._phases().items()
            },
            "refusals": self.refusals.count,
            "refusal_seconds": {
                f"p{share * 100:.0f}": self.refusals.quantile(share) for share in (0.5, 0.95, 0.99)
            },
            "restarts": self.refusals.restarts,
            "memory_mib": self.memory,
            "ratios": self.ratios(),
        }

    def _phases(self) -> dict[str, Phase]:
        return {"1x": self.before, "10x": self.flood, "1x, 5 s after": self.after}


class Summary:
    """All rounds; what is promised must hold for the median, since other work shares the
    machine."""

    def __init__(self, reports: list[Report]) -> None:
        self._reports = reports
        rows = [report.ratios() for report in reports]
        self.medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}

    @property
    def missed(self) -> list[str]:
        low = [name for name, bound in AT_LEAST.items() if self.medians[name] < bound]
        return low + [name for name, bound in AT_MOST.items() if self.medians[name] > bound]

    @property
    def good(self) -> bool:
        return not self.missed

    def tables(self) -> str:
        """Of each round, and of what was promised."""
        return "\n\n".join([*(report.table() for report in self._reports), self.table()])

    def table(self) -> str:
        lines = [
            f"| {len(self._reports)} rounds | median | bound | |",
            "| --- | ---: | ---: | --- |",
        ]
        for bounds, sign in ((AT_LEAST, ">="), (AT_MOST, "<=")):
            for name, bound in bounds.items():
                verdict = "MISSED" if name in self.missed else "kept"
                lines.append(
                    f"| {name} | {self.medians[name]:.2f} | {sign} {bound:.2f} | {verdict} |"
                )
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        return {
            "medians": self.medians,
            "missed": self.missed,
            "rounds": [report.as_dict() for report in self._reports],
        }


def _at(values: list[float], share: float) -> float:
    """A quantile of sorted values; infinite where there are none."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("inf")


def _of(value: float, whole: float) -> float:
    return value / whole if whole else 0.0
