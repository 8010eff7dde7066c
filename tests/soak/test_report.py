"""What makes a soak a failure."""

from collections import Counter

import pytest

from thespis.scripts.stress.soak.report import Report, Series
from thespis.scripts.stress.soak.samples import Sample

CALM = Sample(memory=20.0, shared=1.0, rss=30.0, pss=25.0, files=40, threads=4, segments=2)
HOURS = 2.0


def series(**grown: float) -> Series:
    """Two hours; each field named grows by so much from its first sample to its last."""
    made = Series()
    for index in range(101):
        share = index / 100
        changed = {name: getattr(CALM, name) + share * by for name, by in grown.items()}
        made.times.append(share * HOURS * 3600)
        made.requests.append(share * 20_000)
        made.samples.append(CALM._replace(**changed))
    return made


def report(**processes: Series) -> Report:
    made = Report(1, 4.0, warm=600.0, counts=Counter(answered=100))
    made.series = {f"{name} 17": one for name, one in processes.items()}
    return made


def test_a_soak_in_which_nothing_grows() -> None:
    assert report(scheduler=series(), http=series()).good


@pytest.mark.parametrize(
    "grown",
    [{"memory": 5.0}, {"shared": 30.0}, {"files": 20.0}, {"threads": 4.0}, {"segments": 8.0}],
    ids=lambda grown: next(iter(grown)),
)
def test_whatever_grows_is_named(grown: dict[str, float]) -> None:
    bad = report(scheduler=series(**grown), http=series())
    assert not bad.good
    (line,) = bad.above
    assert line.startswith(f"scheduler 17: {next(iter(grown))}")
    assert f"ABOVE ITS BOUND: {line}" in bad.table()


def test_what_stays_below_the_bound_is_good_and_in_the_table() -> None:
    calm = report(scheduler=series(memory=1.5))
    assert calm.good
    assert "| scheduler | 21.5 | +0.75 | +0.75 to +0.75 | +0.075 |" in calm.table()


def test_growth_before_it_was_warm_does_not_count() -> None:
    young = series()
    for index in range(5):
        young.samples[index] = CALM._replace(memory=3.0 * index)
    assert report(scheduler=young).good


@pytest.mark.parametrize(
    "wrong",
    [
        {"counts": Counter(answered=9, failed=1)},
        {"held": {"http busy": 1.0}},
        {"restarts": {"http": 1}},
        {"counts": Counter()},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_is_wrong_beside_growth(wrong: dict[str, object]) -> None:
    bad = report(http=series())
    for name, value in wrong.items():
        setattr(bad, name, value)
    assert not bad.good


def test_a_soak_that_saw_nothing_is_no_good() -> None:
    assert not report().good


def test_the_samples_come_along_as_json() -> None:
    said = report(http=series(memory=5.0)).as_dict()
    assert said["series"]["http 17"][-1]["memory"] == 25.0
    assert said["above"] == report(http=series(memory=5.0)).above
