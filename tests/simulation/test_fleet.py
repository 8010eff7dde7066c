"""Simulated fleets: the real policies answer every request whole, also when replicas die."""

import random
from collections.abc import Sequence

import msgspec
import pytest

from thespis.protocol.edges.control import Share
from thespis.scripts.simulation.__main__ import MEASURED, bounded
from thespis.scripts.simulation.asking import Ask, Workload
from thespis.scripts.simulation.clock import Clock
from thespis.scripts.simulation.fleet import NOTICED_SECONDS, Fleet, Plan
from thespis.scripts.simulation.loss import loss_table
from thespis.scripts.simulation.report import Report, report_of, table
from thespis.scripts.simulation.routing import POLICIES, Wanted
from thespis.scripts.simulation.times import (
    Line,
    Profile,
    Shape,
    StepSeen,
    coarser,
    fit_line,
    fit_steps,
    read,
    spread_of,
)

SECONDS = 2.0


def fleet_of(
    policy: str = "two-choices",
    deaths: tuple[tuple[float, int], ...] = (),
    share: Share | None = None,
) -> Fleet:
    profile = bounded(read(MEASURED))
    if share is not None:
        profile = msgspec.structs.replace(profile, share=share)
    plan = Plan(replicas=4, routers=2, deaths=deaths)
    return Fleet(profile, plan, [POLICIES[policy](seed, 2, 64) for seed in range(2)], 1)


def run(fleet: Fleet, rate: float = 20.0) -> Report:
    work = Workload(rate=rate, answer=12.0, longest=40, known_pictures=50, heads=10)
    fleet.run(work.asks(SECONDS, 1), SECONDS, drain=30.0)
    return report_of(fleet, SECONDS)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_request_is_answered_whole(policy: str) -> None:
    report = run(fleet_of(policy))
    assert report.requests > 20
    assert (report.lost, report.resumed, report.refused) == (0, 0, 0)
    assert policy in table([(policy, report)])


def test_streams_of_dead_replicas_go_on_elsewhere() -> None:
    fleet = fleet_of(deaths=((1.0, 2),))
    report = run(fleet, 60.0)
    assert report.resumed > 0
    assert (report.lost, report.refused) == (0, 0)
    late = [ask.ended - ask.at for ask in fleet.asks if ask.resumed and ask.ended is not None]
    assert min(late) >= NOTICED_SECONDS
    assert all(len(ask.got) == ask.answer for ask in fleet.asks)
    loss = report.loss
    assert loss is not None
    assert (loss.dead, loss.interrupted) == (2, report.resumed)
    assert loss.pause_ms_p50 >= NOTICED_SECONDS * 1000
    assert "| two-choices | 2 |" in loss_table([("two-choices", loss)])


def alike(policy: str, deaths: tuple[tuple[float, int], ...] = ()) -> Report:
    """Pictures that many ask for, and little else."""
    plan = Plan(replicas=8, routers=1, deaths=deaths)
    fleet = Fleet(bounded(read(MEASURED)), plan, [POLICIES[policy](1, 1, 64)], 1)
    work = Workload(60.0, 1.0, 0.0, 1.0, known_pictures=200, tail=4.0, answer=6.0, longest=10)
    fleet.run(work.asks(SECONDS, 1), SECONDS, drain=30.0)
    return report_of(fleet, SECONDS)


def test_the_real_router_brings_likes_together_and_moves_what_the_dead_had() -> None:
    drawn, likes = alike("two-choices"), alike("affinity")
    assert likes.shared_items > 1.5 * drawn.shared_items
    assert likes.key_us > 0 == drawn.key_us
    loss = alike("affinity", deaths=((1.0, 4),)).loss
    assert loss is not None
    assert loss.moved > 0
    assert loss.stayed_before > 0.5 < loss.stayed_after


def test_one_takes_the_place_of_who_has_died() -> None:
    profile = bounded(read(MEASURED))
    plan = Plan(replicas=3, routers=2, deaths=((0.5, 1),), replaced_seconds=0.6)
    fleet = Fleet(profile, plan, [POLICIES["affinity"](seed, 2, 64) for seed in range(2)], 1)
    run(fleet, 40.0)
    (dead,) = fleet.died
    late = {ask.went for ask in fleet.asks if ask.at > 1.2}
    assert late == {0, 1, 2, 3} - {dead}


def test_a_fleet_that_is_full_refuses_and_says_so() -> None:
    report = run(fleet_of(share=Share(1, 1 << 20, 1 << 30)), 200.0)
    assert report.refused > 0
    assert report.lost == 0


def test_a_coarser_grain_has_the_same_work() -> None:
    work = Workload(rate=20.0, answer=24.0, longest=60)
    fine, coarse = (
        sum(1 + grain * (ask.answer - 1) for ask in asks)
        for grain in (1, 4)
        for asks in [work_of(work, grain)]
    )
    assert fine <= coarse <= fine * 1.15
    profile = coarser(bounded(read(MEASURED)), 4)
    steps, one = profile.times, read(MEASURED).times
    # Four steps of two who decode, at 800 tokens each; and a prompt of 400 alone.
    four = 4 * one.expected(Shape(2, 0, 0, 0, 1600.0))
    assert steps.expected(Shape(2, 0, 0, 0, 400.0)) == pytest.approx(four)
    alone = one.expected(Shape(0, 400, 1, 1, 80_000.0))
    assert steps.expected(Shape(0, 100, 1, 1, 5_000.0)) == pytest.approx(alone)
    with pytest.raises(ValueError, match="not divided by 5"):
        coarser(profile, 5)


def work_of(work: Workload, grain: int) -> list[Ask]:
    return list(msgspec.structs.replace(work, grain=grain).asks(2.0, 3))


def test_one_seed_is_one_story() -> None:
    one, other = run(fleet_of()), run(fleet_of())
    clockwork = {"route_us", "route_us_p99", "routers"}
    fields = set(Report.__struct_fields__) - clockwork
    assert all(getattr(one, name) == getattr(other, name) for name in fields)


def test_fitted_steps_are_those_that_were_made() -> None:
    rng = random.Random(1)
    true = (0.002, 0.0002, 0.00003, 0.001, 0.0, 0.0)
    steps: list[StepSeen] = []
    for _ in range(400):
        chunks = rng.randrange(3)
        shape = Shape(rng.randrange(1, 30), chunks * rng.randrange(8, 200), chunks, 0, 0.0)
        seconds = sum(a * b for a, b in zip(true, shape.row(), strict=True))
        steps.append(StepSeen(shape, seconds * rng.uniform(0.9, 1.1), seconds * 0.8, False))
    step, spread, beside, inside = fit_steps(steps)
    assert step == pytest.approx(true, rel=0.1, abs=1e-4)
    assert sum(spread) / len(spread) == pytest.approx(1.0, abs=0.01)
    assert beside == 1.0
    assert inside == pytest.approx(0.8, rel=0.02)


def test_a_fit_of_too_few_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="3 steps"):
        fit_steps([StepSeen(Shape(1, 0, 0, 0, 1.0), 0.1, 0.1, False)] * 3)


@pytest.mark.parametrize(
    ("points", "at_ten"),
    [([(1, 3.0), (2, 5.0), (5, 11.0)], 21.0), ([(4, 2.0), (4, 2.0)], 2.0), ([], 7.0)],
)
def test_lines(points: list[tuple[float, float]], at_ten: float) -> None:
    line = fit_line(points, Line(7.0, 0.0))
    assert line.seconds(10, random.Random(0)) == pytest.approx(at_ten, rel=0.01)


def test_a_spread_keeps_the_mean() -> None:
    values = [random.Random(2).expovariate(1.0) for _ in range(480)]
    spread = spread_of(values)
    assert sum(spread) / len(spread) == pytest.approx(sum(values) / len(values), rel=1e-3)


def test_events_of_one_moment_keep_their_order() -> None:
    clock, seen = Clock(), list[int]()
    for number in range(3):
        clock.at(1.0, lambda number=number: seen.append(number))  # type: ignore[misc]
    clock.after(0.5, lambda: clock.at(0.1, lambda: seen.append(9)))
    clock.run(2.0)
    assert seen == [9, 0, 1, 2]
    assert clock.now == 2.0


def test_work_has_heavy_tails_and_shared_parts() -> None:
    asks = list(Workload(rate=500.0).asks(4.0, 3))
    pixels = sorted(picture.pixels for ask in asks for picture in ask.pictures)
    tenth = pixels[-len(pixels) // 10 :]
    assert sum(tenth) > 0.4 * sum(pixels)
    keys = [picture.key for ask in asks for picture in ask.pictures]
    assert len(set(keys)) < len(keys)
    assert _again(asks) == _again(list(Workload(rate=500.0).asks(4.0, 3)))


def _again(asks: Sequence[Ask]) -> list[tuple[str, tuple[int, ...], int]]:
    return [(ask.id, ask.text, ask.answer) for ask in asks]


def test_only_the_living_are_chosen() -> None:
    for make in POLICIES.values():
        router = make(3, 1, 64)
        router.update([0, 1, 2, 4])
        router.update([1, 4])
        bests = {next(iter(router.order(Wanted(f"r{n}"), [0] * 5))) for n in range(40)}
        assert bests == {1, 4}
        router.update([])
        assert not [*router.order(Wanted("nobody"), [0] * 5)]


def test_the_measured_profile_is_whole() -> None:
    profile = read(MEASURED)
    assert isinstance(profile, Profile)
    assert profile.times.decoders >= 1
    assert len(profile.times.step) == len(Shape(0, 0, 0, 0, 0.0).row())
