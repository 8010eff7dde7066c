"""What callers of `embed` and `encode` give."""

import pytest

from thespis.frontends.python.vectors import NO_TASK, with_task
from thespis.protocol.requests.pooling import PoolingParams
from thespis.protocol.requests.sampling import SamplingParams


def test_the_task_named_in_the_call_goes_before_that_of_the_parameters() -> None:
    given = PoolingParams(task="token_embed", dimensions=8)
    assert with_task(given, None) == given
    assert with_task(given, "embed") == PoolingParams(task="embed", dimensions=8)
    assert with_task(None, "token_embed") == PoolingParams(task="token_embed")
    with pytest.raises(ValueError, match="did you mean 'embed'"):
        with_task(None, "embedd")
    with pytest.raises(ValueError, match=NO_TASK):
        with_task(None, None)


@pytest.mark.parametrize("given", [SamplingParams(), {"task": "embed"}])
def test_parameters_of_another_kind_are_told(given: object) -> None:
    with pytest.raises(TypeError, match=r"pooling_params are PoolingParams\(\.\.\.\)"):
        with_task(given, "embed")  # type: ignore[arg-type]
