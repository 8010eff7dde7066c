"""The fit: what a jump, noise or a warm-up does to a slope, and that a real one is found."""

import random

import pytest

from thespis.scripts.stress.soak.trend import trend

HOURS = [index / 100 for index in range(120)]


@pytest.mark.parametrize("slope", [-3.0, 0.0, 0.5, 40.0])
def test_a_line_is_found_as_it_is(slope: float) -> None:
    line = trend(HOURS, [7 + slope * hour for hour in HOURS])
    assert line.slope == pytest.approx(slope)
    assert line.low == pytest.approx(slope)
    assert line.high == pytest.approx(slope)
    assert line.growth == pytest.approx(slope * HOURS[-1])
    assert line.last == pytest.approx(7 + slope * HOURS[-1])


def test_a_tenth_of_wild_samples_moves_nothing() -> None:
    draw = random.Random(3)
    sizes = [7 + 2 * hour + (draw.uniform(50, 900) if draw.random() < 0.1 else 0) for hour in HOURS]
    assert trend(HOURS, sizes).slope == pytest.approx(2, abs=0.1)


def test_noise_alone_surely_grows_by_nothing() -> None:
    for seed in range(20):
        draw = random.Random(seed)
        line = trend(HOURS, [7 + draw.gauss(0, 0.5) for _ in HOURS])
        assert line.low <= 0 <= line.high


def test_growth_within_noise_is_found() -> None:
    draw = random.Random(1)
    line = trend(HOURS, [7 + 3 * hour + draw.gauss(0, 0.5) for hour in HOURS])
    assert 2 < line.low < 3 < line.high < 4


def test_a_step_is_no_slope() -> None:
    assert trend(HOURS, [7.0 if hour < 0.3 else 12.0 for hour in HOURS]).slope == 0


@pytest.mark.parametrize("x", [[], [1.0], [1.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
def test_too_little_to_say_anything(x: list[float]) -> None:
    line = trend(x, [float(9 - index) for index in range(len(x))])
    assert (line.slope, line.low, line.high, line.growth) == (0, 0, 0, 0)


def test_many_samples_are_thinned_and_tell_the_same() -> None:
    times = [index / 5000 for index in range(20_000)]
    line = trend(times, [2 + 1.5 * time for time in times])
    assert line.slope == pytest.approx(1.5)
    assert line.growth == pytest.approx(1.5 * times[-1])
