"""Short campaigns, together on all three faces: every role is killed under mixed streams, two at
once, one in another's recovery, one is stopped, one finds the file systems full, one no files, one
is killed by the kernel for memory; all are told to end, the cores are wanted elsewhere, the janitor
dies; a sixth of the callers leave."""

import random
from pathlib import Path

import pytest

from thespis.protocol.checkpoint.folder import demo_model
from thespis.scripts.stress.chaos.campaign import Campaign, Options
from thespis.scripts.stress.chaos.faults import ROLES, short_round
from thespis.scripts.stress.chaos.report import BUSY_SHARE

from ..helpers.logs import access_lines
from ..zoo.catalog import Zoo

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(400),
    pytest.mark.usefixtures("commands_start_warm"),
]
SEED = 1


async def test_no_request_is_lost(tmp_path: Path) -> None:
    options = Options(
        model=demo_model(), seed=SEED, http=7, python=11, least=50, most=110, pauses=(0.02, 0.1)
    )
    campaign = Campaign(options, tmp_path, print)
    await campaign.prepare()
    await campaign.online(iter(short_round(random.Random(SEED), http=True)), seconds=300.0)
    report = campaign.report
    assert report.good, report.table()
    assert report.verdicts["kept"] >= 30
    assert report.verdicts["cancelled"] >= 1
    assert set(report.requests) == {"HTTP", "AsyncLLM"}
    assert all(report.kills[role] >= 1 for role in ROLES), report.kills
    assert report.busy_share >= BUSY_SHARE
    assert report.repeated == []
    assert len(access_lines(campaign.log.read_text())) >= report.requests["HTTP"]


async def test_no_request_of_a_model_with_windows_is_lost(tmp_path: Path, zoo: Zoo) -> None:
    """The third face, over Gemma 3: blocks behind its windows have gone back when the runner dies,
    and pictures see themselves both ways."""
    model = zoo("gemma3")
    options = Options(
        model=model,
        animal="gemma3",
        seed=SEED,
        offline=12,
        least=30,
        most=70,
        asks=8,
        pauses=(0.02, 0.1),
    )
    campaign = Campaign(options, tmp_path, print)
    await campaign.prepare()
    await campaign.offline(iter(short_round(random.Random(SEED), http=False)), seconds=60.0)
    report = campaign.report
    assert report.good, report.table()
    assert report.verdicts["kept"] >= 10
    assert set(report.requests) == {"LLM"}
    assert report.lines
    assert report.kills["gpu-runner"] >= 1
    assert report.kills["scheduler"] >= 1
