"""What a refused caller reads."""

import pytest

from thespis.protocol.errors import Failure, RequestError


@pytest.mark.parametrize(
    ("part", "text", "sentence"),
    [
        (None, "It is too large.", "It is too large."),
        ("messages[0]", "It is empty.", "messages[0]: It is empty."),
        ("temperature", "temperature must be at least 0.", "temperature must be at least 0."),
        ("stop", "stopping is not supported.", "stop: stopping is not supported."),
    ],
)
def test_a_part_is_named_once(part: str | None, text: str, sentence: str) -> None:
    failure = Failure("invalid_request", text, part)
    assert (failure.sentence, str(RequestError(failure))) == (sentence, sentence)
