import math

import pytest

from thespis.actors.fetcher.freshness import fresh_seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, math.inf),
        ({"Cache-Control": "public, max-age=60"}, 60),
        ({"Cache-Control": "max-age=60, s-maxage=30"}, 30),
        ({"Cache-Control": 'Max-Age="60"', "Age": "50"}, 10),
        ({"Cache-Control": "max-age=60", "Age": "70"}, 0),
        ({"Cache-Control": "max-age=60, no-store"}, 0),
        ({"Cache-Control": "PRIVATE"}, 0),
        ({"Cache-Control": "no-cache"}, 0),
        ({"Cache-Control": "max-age=soon"}, 0),
        ({"Cache-Control": "max-age=-1"}, 0),
        ({"Cache-Control": ",,=,"}, math.inf),
    ],
)
def test_what_a_server_says_of_keeping_its_answer(headers: dict[str, str], seconds: float) -> None:
    assert fresh_seconds(headers) == seconds
