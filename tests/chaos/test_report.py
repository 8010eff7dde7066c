"""What makes a campaign a failure, beside what became of its requests."""

from collections import Counter

import pytest

from thespis.scripts.stress.chaos.faults import Fault, Kind
from thespis.scripts.stress.chaos.report import LATE, LEASE, Report
from thespis.scripts.stress.chaos.strike import Strike
from thespis.scripts.stress.watch import Seen

KILL, STOP = Fault("kill", ("scheduler",)), Fault("stop", ("scheduler",))
ZYGOTE = Fault("kill", ("zygote",))


def strike(
    fault: Fault = KILL, recovery: float | None = 0.3, after: float | None = 0.02, gap: float = 0.03
) -> Strike:
    return Strike(
        fault, 9, recovery, 0.3 if recovery is None else min(recovery, 0.3), Seen(after, gap, True)
    )


def report(*strikes: Strike) -> Report:
    return Report(1, 0.0, list(strikes), Counter(kept=20))


def test_a_campaign_in_which_all_is_as_promised() -> None:
    assert report(strike(), strike(STOP, LEASE + 0.3, 2.9), strike(ZYGOTE, after=None)).good


@pytest.mark.parametrize("verdict", ["lost", "diverged", "poison"])
def test_a_request_that_did_not_go_as_it_should(verdict: str) -> None:
    bad = report(strike())
    bad.verdicts[verdict] = 1
    assert not bad.good


def test_a_restart_of_a_process_that_nobody_struck() -> None:
    bad = report(strike())
    bad.restarts["fetcher"] = 1
    assert not bad.good
    assert "- FAILURE: fetcher was restarted 1 times by itself" in bad.table()


@pytest.mark.parametrize(
    "late", [strike(recovery=LATE + 1), strike(recovery=None), strike(STOP, LATE + LEASE + 1, 3.0)]
)
def test_a_recovery_that_is_late_or_missing(late: Strike) -> None:
    assert not report(late).good
    assert report(strike(STOP, LATE + LEASE - 1, 3.0)).good


def test_a_death_that_health_never_told_of() -> None:
    assert not report(strike(after=None)).good
    assert not report(strike(STOP, LEASE + 0.3, after=None)).good
    assert report(strike(recovery=0.1, after=None, gap=0.05)).good, (
        "it was over before /health could be asked"
    )
    assert report(strike(STOP, LEASE + 0.3, after=None, gap=0.25)).good


def test_what_is_still_held_when_all_is_over() -> None:
    bad = report(strike())
    bad.held["scheduler running"] = 2.0
    assert not bad.good
    assert "- FAILURE: scheduler running 2 held at the end" in bad.table()


def test_what_one_process_said_twice_within_a_second() -> None:
    bad, line = report(strike()), "WARNING director nothing is well"
    quiet = f"2026-11-30 03:00:00,000 {line}\n2026-11-30 03:00:01,500 {line}\n"
    bad.read_log(quiet)
    assert bad.good
    bad.read_log(f"2026-11-30 03:00:00,000 {line}\n2026-11-30 03:00:00,900 {line}\n")
    assert not bad.good
    table = bad.table()
    assert "- lines of the log: 4, of them said twice within a second by one process: 1" in table
    assert f"FAILURE: said twice within a second: {bad.repeated[0]}" in table


def test_live_must_stay() -> None:
    assert not report(strike()._replace(seen=Seen(0.02, 0.03, False))).good


def test_how_many_of_the_deaths_were_told_of_in_time() -> None:
    table = report(
        strike(),
        strike(after=0.7),
        strike(recovery=0.1, after=None, gap=0.05),
        strike(STOP, 3.6, 3.4),
    ).table()
    assert (
        "503 within 0.5 s of a kill: 1 of 3 (p50 0.360 s, max 0.700 s); whole again before it "
        "was asked: 1" in table
    )
    assert "503 within 3.5 s of a stop: 1 of 1" in table


@pytest.mark.parametrize("kind", ["signal", "starve", "files"])
def test_health_has_nothing_to_tell_of_what_nobody_dies_of(kind: Kind) -> None:
    harmless = strike(Fault(kind, (), at=("fetcher",)), recovery=0.01, after=None)._replace(
        known=5.0
    )
    good = report(harmless)
    assert good.good
    assert "| 0.01 | 0.01 |" in good.table()
    assert not report(harmless._replace(recovery=None)).good
