"""What the generators of JSON schemas write is accepted as it is, and whatever the sampler lets
through fits it."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ..helpers.walking import accepts, as_run, walk

WRITTEN: dict[str, Any] = json.loads(Path(__file__).with_name("written.json").read_text())

TEXTS = '{"start": "abc", "end": "xyz", "has": "a mid b", "code": "AB-123", "exact": "four"}'
FOUND_BY_NO_WALK = {"zod texts": TEXTS, "zod3 texts": TEXTS}
"""Endings that chance does not hit."""


def test_the_list_is_long() -> None:
    assert len(WRITTEN) >= 60
    for generator in (
        "pydantic",
        "openai",
        "instructor",
        "langchain",
        "llama-index",
        "pydantic-ai",
        "msgspec",
        "zod",
        "zod3",
    ):
        assert sum(name.startswith(generator + " ") for name in WRITTEN) >= 2


@pytest.mark.parametrize("name", WRITTEN)
def test_answers_fit(name: str) -> None:
    schema = WRITTEN[name]
    validator = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)(schema)
    guide = as_run(schema)
    if name in FOUND_BY_NO_WALK:
        assert accepts(guide, FOUND_BY_NO_WALK[name])
        return
    for seed in range(3):
        validator.validate(json.loads(walk(guide, seed)))
