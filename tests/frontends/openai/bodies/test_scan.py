"""The counts of a body: exact for every JSON text, whichever way it comes in pieces."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.frontends.openai.bodies.scan import STEP, Scan, Structure, allowed
from thespis.protocol.errors import RequestError

PLENTY = Structure(10**9, 10**9, 10**9, 10**9, 10**9)
LIMIT = allowed(1000)
texts = st.text(
    st.sampled_from('a"\\{}[]:, \n\tü字😀') | st.characters(exclude_categories=["Cs"]), max_size=12
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=30,
)


def counted(value: Any, depth: int = 0) -> Structure:
    """The same by walking the value."""
    if isinstance(value, str):
        return Structure(depth, strings=1)
    if not isinstance(value, list | dict):
        return Structure(depth)
    inner = [
        counted(one, depth + 1) for one in (value.values() if isinstance(value, dict) else value)
    ]
    keys = len(value) if isinstance(value, dict) else 0
    return Structure(
        depth=max([depth + 1, *(one.depth for one in inner)]),
        containers=1 + sum(one.containers for one in inner),
        keys=keys + sum(one.keys for one in inner),
        strings=keys + sum(one.strings for one in inner),
        values=max(0, len(value) - 1) + sum(one.values for one in inner),
    )


def scanned(data: bytes, cuts: list[int], limit: Structure = PLENTY) -> Scan:
    scan = Scan(limit)
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(edges):
        scan.feed(data[start:end])
    scan.end()
    return scan


@given(values, st.booleans(), st.lists(st.integers(0, 1000), max_size=8))
@settings(max_examples=300, deadline=None)
def test_the_counts_are_those_of_the_parsed_value(
    value: Any, escaped: bool, cuts: list[int]
) -> None:
    data = json.dumps(value, ensure_ascii=escaped).encode()
    assert scanned(data, cuts).found == counted(value)
    assert scanned(data, list(range(len(data)))).found == counted(value)  # one byte at a time
    assert scanned(data, []).size == len(data)


@given(
    st.binary(max_size=40).map(lambda data: data.translate(None, b"]}")),
    st.lists(st.integers(0, 50), max_size=6),
)
@settings(max_examples=300, deadline=None)
def test_what_is_not_utf8_is_found_and_nothing_else(data: bytes, cuts: list[int]) -> None:
    try:
        data.decode()
    except UnicodeDecodeError:
        with pytest.raises(RequestError) as refused:
            scanned(data, cuts)
        assert (refused.value.status, refused.value.failure.code) == (400, "invalid_json")
    else:
        scanned(data, cuts)


@pytest.mark.parametrize(
    "data", [b"]", b"[]]", b"[" * 9 + b"}" * 10, b'["]"]}', b"]" * STEP + b"[" * STEP]
)
def test_brackets_that_close_nothing_are_no_json(data: bytes) -> None:
    with pytest.raises(RequestError) as refused:
        scanned(data, [], LIMIT)
    assert (refused.value.status, refused.value.failure.code) == (400, "invalid_json")


LARGE = 1 << 22
HOSTILE = {
    "empty arrays": b"[" + b"[]," * LARGE,
    "empty objects": b"[" + b"{}," * LARGE,
    "keys": b"{" + b'"":0,' * LARGE,
    "numbers": b"[" + b"0," * LARGE,
    "short strings": b"[" + b'"a",' * LARGE,
    "strings without commas": b'""' * LARGE,
    "nested arrays": b"[" * LARGE,
    "nested objects": b'{"a":' * LARGE,
    "depth within bounds of a piece": b"[" * 200 + b"]" * 200,
    "after a long string": b'["' + b"\\\\" * STEP + b'"' + b",[]" * LARGE,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_structure_that_no_request_needs_is_refused_before_it_has_all_come(name: str) -> None:
    scan = Scan(LIMIT)
    with pytest.raises(RequestError) as refused:
        scan.feed(HOSTILE[name])
    assert (refused.value.status, refused.value.failure.code) == (413, "body_too_complex")
    assert scan.size <= 5 * max(LIMIT.values, STEP)


LEGAL = {
    "a picture in base64": b'{"messages":[{"content":[{"image_url":{"url":"data:image/png;base64,'
    + b"A" * LARGE
    + b'"}}]}]}',
    "text full of structure": b'{"prompt":"' + b"[{,:]}" * LARGE + b'"}',
    "text full of escapes": b'{"prompt":"' + b'\\"\\\\,\\u0041' * (LARGE // 8) + b'"}',
    "whitespace": b"{" + b" \n\t" * LARGE + b"}",
    "a long number": b"[" + b"1" * LARGE + b"]",
    "token ids": b'{"prompt":[' + b"12345," * 999 + b"1]}",
    "a bias for each token of a vocabulary": b'{"logit_bias":{' + b'"1":1,' * 262_144 + b'"1":1}}',
    "a long conversation": b'{"messages":['
    + b'{"role":"user","content":[{"type":"text","text":"a"}]},' * 30_000
    + b"1]}",
}


@pytest.mark.parametrize("name", LEGAL)
def test_what_a_request_may_need_passes(name: str) -> None:
    scan = scanned(LEGAL[name], [], LIMIT)
    assert scan.size == len(LEGAL[name])


def test_a_piece_is_counted_in_steps_of_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(Scan, "_step", lambda self, data: sizes.append(len(data)))
    Scan(LIMIT).feed(b"x" * (3 * STEP + 1))
    assert sizes == [STEP, STEP, STEP, 1]
