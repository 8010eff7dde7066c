"""A short campaign on all three faces: every role is killed under mixed streams, two at once, one in another's recovery, one is
stopped, one finds the file systems full, one no files, one is killed by the kernel for memory; all are told to end, the cores
are wanted elsewhere, the janitor dies; a sixth of the callers leave."""

import random
from pathlib import Path

import pytest

from thespis.protocol.checkpoint import demo_model
from thespis.scripts.chaos_run.campaign import Campaign, Options
from thespis.scripts.chaos_run.faults import ROLES, short_round
from thespis.scripts.chaos_run.report import BUSY_SHARE

pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]
SEED = 1


async def test_no_request_is_lost(tmp_path: Path) -> None:
    options = Options(model=demo_model(), seed=SEED, http=7, python=11, offline=12, least=100, most=250, pauses=(0.05, 0.2))
    campaign = Campaign(options, tmp_path, print)
    await campaign.prepare()
    await campaign.online(iter(short_round(random.Random(SEED), http=True)), seconds=300.0)
    await campaign.offline(iter(short_round(random.Random(SEED), http=False)), seconds=60.0)
    report = campaign.report
    assert report.good, report.table()
    assert report.verdicts["kept"] >= 30
    assert report.verdicts["cancelled"] >= 1
    assert set(report.requests) == {"HTTP", "AsyncLLM", "LLM"}
    assert all(report.kills[role] >= 1 for role in ROLES), report.kills
    assert report.busy_share >= BUSY_SHARE
