"""A few seconds of hostile cases with small bodies, at a server of the bundled model."""

from pathlib import Path

import pytest

from thespis.scripts.hostile_run.__main__ import attack
from thespis.scripts.hostile_run.campaign import Options
from thespis.scripts.hostile_run.report import Report

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


async def test_hostile_callers_harm_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the log of a failure is kept
    monkeypatch.setattr("thespis.scripts.hostile_run.report.WAITING", {False: 5.0, True: 5.0})  # the machine may be busy
    report: Report = await attack(Options(seed=8, biggest=100_000, seconds=10.0, cases=60), print)
    assert report.good, report.table()
    assert len(report.outcomes) >= 10
    assert report.answers >= 4
