"""The beginning of an object is told from what is none, by the readers of others: jiter, which
Anthropic's client reads a call's input with while it comes, and msgspec."""

import json

import jiter
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thespis.frontends.openai.tools.json_prefix import JsonPrefix

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=3)


def prefix(*pieces: str) -> int:
    """Characters that may be the beginning of one."""
    read, told = JsonPrefix(), 0
    for piece in pieces:
        told += read.feed(piece)
    return told


@given(OBJECTS, st.booleans(), st.sampled_from([None, 1]))
def test_an_object_is_told_wholly_wherever_it_is_cut(
    value: object, ascii: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii, indent=indent)
    assert prefix(text) == prefix(*text) == len(text)


@given(OBJECTS, st.data())
def test_what_is_told_of_a_broken_one_can_be_read(value: object, data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text)))
        odd = data.draw(st.sampled_from(["", *'{}[]",:\\0123.-+eEtfn \n\x01aé', "\\ud83d", "\\u"]))
        text = text[:place] + odd + text[place + data.draw(st.integers(0, 2)) :]
    told = prefix(text)
    if text[:told].strip():  # a call begins with its bracket
        jiter.from_json(text[:told].encode(), partial_mode=True)
    if told < len(text):
        with pytest.raises(ValueError):  # noqa: PT011 - every reader has its own words
            msgspec.json.decode(text, type=dict)
    assert prefix(*text) == told


@pytest.mark.parametrize(
    "text",
    [
        "[1]", "1", '"a"', "null", "x", "}", '{"a"}', '{"a":}', '{"a":1,}', "{,}", '{"a":[1,]}',
        '{"a":1]',
        '{"a":tru}', '{"a":1.}', '{"a":-}', '{"a":01}', '{"a":.5}', '{"a":+1}', '{"a":"\\x"}',
        '{"a":"\\ud83d"}', '{"a":"\\ude00"}', '{"a":"\\ud83dx"}', '{"a":"\n"}', '{"a":1}{',
        '{"a":1}x',
        '{"a":' + "[" * 200, "{1:2}", '{"a" 1}', "{a}",
    ],
)  # fmt: skip
def test_what_is_none_is_told_before_its_end(text: str) -> None:
    assert prefix(text) < len(text)
    assert prefix(*text) == prefix(text)
