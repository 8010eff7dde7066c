"""What the Python faces say of options that there are not."""

import pytest

from thespis.frontends.python.options import engine_config


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("temprature", "'temperature' is an option of SamplingParams"),
        ("max_model_length", "did you mean 'max_model_len'?"),
        ("pipeline_parallel_siz", "One engine serves one model"),
    ],
)
def test_what_an_unknown_option_may_have_meant_is_said(name: str, said: str) -> None:
    with pytest.raises(TypeError) as refused:
        engine_config("m", {name: 1})
    assert said in str(refused.value)


def test_a_word_like_no_option_gets_no_advice() -> None:
    with pytest.raises(TypeError) as refused:
        engine_config("m", {"nope": 1})
    assert str(refused.value).endswith("lease_seconds.")
