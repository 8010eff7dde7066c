"""`StructuredOutputsParams` is a class, as those who come from vLLM write it."""

import typing

import pytest

from thespis import SamplingParams, StructuredOutputsParams
from thespis.protocol.requests.guide import Guide, as_guide, guide_of


def test_it_is_a_class_with_fields() -> None:
    given = StructuredOutputsParams(choice=["yes", "no"])
    assert isinstance(given, StructuredOutputsParams)
    assert (given.choice, given.regex) == (["yes", "no"], None)
    assert set(typing.get_type_hints(StructuredOutputsParams)) == {
        "json", "regex", "choice", "grammar", "json_object",
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [{"json": {"type": "object"}}, {"json": False}, {"regex": "a+"}, {"json_object": True}],
)
def test_it_says_what_a_dict_of_its_fields_says(fields: dict[str, typing.Any]) -> None:
    guide = SamplingParams(structured_outputs=StructuredOutputsParams(**fields)).guide
    assert isinstance(guide, Guide)
    assert guide == as_guide(fields) == guide_of(**fields)


def test_choices_that_can_be_read_once_only_are_kept() -> None:
    given = StructuredOutputsParams(choice=(word for word in ("yes", "no")))
    assert as_guide(given) == as_guide(given) == Guide("choice", '["yes", "no"]')


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"regex": "a", "json_object": True},
        {"regex": ""},
        {"json_object": 0},  # it was taken for True
        {"json_object": "no"},
        {"choice": [1]},
    ],
)
def test_what_is_wrong_is_said_at_once(fields: dict[str, typing.Any]) -> None:
    with pytest.raises(ValueError, match=r"^structured_outputs"):
        StructuredOutputsParams(**fields)


def test_a_field_that_there_is_none_of_is_named() -> None:
    with pytest.raises(ValueError, match=r"and json_object, not 'regx'\.$"):
        as_guide({"regx": "a"})


@pytest.mark.parametrize("name", ["stop", "bad_words", "stop_token_ids", "allowed_token_ids"])
def test_what_is_no_list_is_refused_by_its_name(name: str) -> None:
    given: dict[str, typing.Any] = {name: 5}
    with pytest.raises(ValueError, match=f"^{name} must be a list"):
        SamplingParams(**given)
