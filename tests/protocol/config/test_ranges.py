"""Numbers of the configuration out of their range, and at its ends."""

from typing import Any

import pytest

from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.ranges import ABOVE_ZERO, RANGES
from thespis.protocol.config.server import ServerConfig

FIELDS = {
    **dict.fromkeys(EngineConfig.__struct_fields__, EngineConfig),
    **dict.fromkeys(ServerConfig.__struct_fields__, ServerConfig),
}


@pytest.mark.parametrize("name", sorted(RANGES))
def test_a_range_has_two_ends(name: str) -> None:
    schema: Any = FIELDS[name]
    low, high = RANGES[name]
    for inside in (low, high):
        schema(**{name: inside})
    below = 0 if low == ABOVE_ZERO else low - 1
    for outside, words in (
        (below, "must be a"),
        (high * 2 + 1, "must be at most"),
        (float("nan"), "must be a"),
    ):
        with pytest.raises(ValueError, match=f"{name} {words}"):
            schema(**{name: outside})


@pytest.mark.parametrize("schema", [EngineConfig, ServerConfig])
def test_every_number_has_a_range(schema: Any) -> None:
    numbers = {
        name for name in schema.__struct_fields__ if type(getattr(schema(), name)) in (int, float)
    }
    assert numbers <= RANGES.keys(), numbers - RANGES.keys()
