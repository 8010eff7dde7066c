"""A few seconds of hostile cases with small bodies, at a server of the bundled model."""

from pathlib import Path

import pytest

from thespis.scripts.stress.hostile.__main__ import attack
from thespis.scripts.stress.hostile.campaign import Options

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(240),
    pytest.mark.usefixtures("commands_start_warm"),
]


async def test_hostile_callers_harm_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """How long things take is not judged here: the machine may be busy."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the log of a failure is kept
    monkeypatch.setattr("thespis.scripts.stress.hostile.campaign.QUIET_SECONDS", 0.2)
    monkeypatch.setattr("thespis.scripts.stress.hostile.report.WAITING", {False: 60.0, True: 60.0})
    report = await attack(
        Options(seed=8, biggest=100_000, seconds=200.0, cases=24, shooters=1), print
    )
    assert [failure for failure in report.failures if ": took " not in failure] == [], (
        report.table()
    )
    assert len(report.outcomes) == 24
    assert report.answers >= 4
