"""A failure is told whatever a time limit does to it: neither pytest's own end nor the limit hides
which property failed."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture.engine import MAX_SHRINKING_SECONDS

NO_LINE = 0b1_1111_000
"""In a table of lines: one code unit that belongs to none."""


def _interrupted() -> None:
    raise TimeoutError("interrupted at no line")


_interrupted.__code__ = _interrupted.__code__.replace(
    co_linetable=bytes([NO_LINE] * (len(_interrupted.__code__.co_code) // 2))
)


def _while_another_is_told() -> None:
    try:
        _interrupted()
    except TimeoutError as error:
        raise AssertionError("the property") from error


@pytest.mark.parametrize("fails", [_interrupted, _while_another_is_told])
def test_an_error_raised_at_no_line_is_reported_as_a_failure(
    request: pytest.FixtureRequest, fails: Callable[[], None]
) -> None:
    call = pytest.CallInfo.from_call(fails, "call")
    report = request.node.ihook.pytest_runtest_makereport(item=request.node, call=call)
    assert report.failed
    assert "interrupted at no line" in report.longreprtext


@settings(max_examples=1, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nothing=st.none())
def test_a_failing_property_has_the_time_in_which_hypothesis_makes_it_small(
    request: pytest.FixtureRequest, nothing: None
) -> None:
    limit = request.node.get_closest_marker("timeout")
    assert limit is not None
    assert nothing is None
    assert limit.args[0] > MAX_SHRINKING_SECONDS
