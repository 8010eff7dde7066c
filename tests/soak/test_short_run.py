"""A soak of seconds on a real engine: every request goes as it should, and every process is looked
at."""

from pathlib import Path

import pytest

from thespis.protocol.checkpoint.folder import demo_model
from thespis.scripts.stress.soak.report import Report
from thespis.scripts.stress.soak.soak import Options, soak

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("commands_start_warm"),
]


async def test_seconds_of_a_soak(tmp_path: Path) -> None:
    report = Report(seed=3, rate=12.0)
    await soak(Options(demo_model(), 3, 12.0, 3.0), tmp_path, report, print)
    assert not report.counts["failed"], report.table()
    assert report.counts["answered"] >= 10
    assert report.counts["refused"] >= 1
    assert not report.held
    assert not report.restarts
    names = {process.rpartition(" ")[0] for process in report.series}
    roles = {
        "fetcher",
        "preprocessor",
        "decode-worker",
        "encoder-cache",
        "scheduler",
        "gpu-runner",
        "detokenizer",
        "http",
    }
    assert names >= roles | {"director", "zygote", "janitor"}
    assert all(
        one.samples[-1].memory > 1 and one.samples[-1].files > 1 for one in report.series.values()
    )
    assert report.tables["encoder-cache entries"] > 0
    assert "| gpu-runner |" in report.table()
