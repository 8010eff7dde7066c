"""Guides at the preprocessor: verdicts, words for what is wrong, and requests that wait for
them."""

from typing import Any

import msgspec
import pytest

from thespis.actors.jobs import guides
from thespis.actors.jobs.guides import CODE, REMEMBERED, GuideChecker, KnownGuides
from thespis.gpu_runtime.sampling.vocabulary import vocabulary_of
from thespis.protocol.errors import Failure, RequestError
from thespis.protocol.requests.guide import (
    Calls,
    Guide,
    NamedSchema,
    as_guide,
    guide_of,
)

from ...helpers.facts import DEMO


@pytest.fixture(scope="module")
def checker() -> GuideChecker:
    info = DEMO
    return GuideChecker(lambda: vocabulary_of(info))


def words(checker: GuideChecker, guide: Guide) -> str:
    with pytest.raises(RequestError) as refused:
        checker.check(guide)
    assert (refused.value.status, refused.value.failure.code) == (400, CODE)
    return refused.value.failure.text


def test_what_would_hold_the_runner_is_refused(
    checker: GuideChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {"enum": [f"value {number}" for number in range(3000)]}
    assert checker.check(guide_of(json=many)).kind == "grammar"
    monkeypatch.setattr(guides, "RUNNER_SECONDS", 0.0)
    assert "too long to build" in words(checker, guide_of(json=many))


@pytest.mark.parametrize(
    ("first", "each", "taken"),
    [
        (0.0047, 0.0002, True),
        (0.0093, 0.0002, True),
        (0.0239, 0.0055, False),
        (0.0252, 0.0054, False),
        (0.04, 0.0001, False),
    ],
    ids=[
        "dates of zod",
        "3,000 values",
        "a word of 20,000 letters",
        "the same as a pattern",
        "a slow first mask",
    ],
)
def test_what_a_guide_may_take_of_the_runner(
    checker: GuideChecker, monkeypatch: pytest.MonkeyPatch, first: float, each: float, taken: bool
) -> None:
    """Processor time as it was measured of each."""
    trial = guides._Trial(None, (first, *[each] * guides.PROBE_TOKENS))
    monkeypatch.setattr(checker, "_try", lambda lark: trial)
    guide = guide_of(json={"type": "object"})
    if taken:
        checked = checker.check(guide)
        assert (checked.first_seconds, checked.each_seconds) == (first, each)
    else:
        assert "too long to build" in words(checker, guide)


def test_a_good_guide_becomes_lark(checker: GuideChecker) -> None:
    checked = checker.check(guide_of(json={"type": "object"}))
    assert (checked.kind, checked.text[:13]) == ("grammar", "start: %json ")
    again = checker.check(checked)
    assert (again.kind, again.text) == (checked.kind, checked.text)
    assert "start:" in checker.check(guide_of(grammar='root ::= "a"')).text


@pytest.mark.parametrize(
    ("outputs", "word"),
    [
        ({"json": {"type": "objekt"}}, "objekt"),
        ({"json": {"unevaluatedItems": False}}, "unevaluatedItems"),
        (
            {"json": {"properties": {"a/b": {"not": {"type": "null"}}}}},
            "`not`, which is not supported, at `#/properties/a~1b`",
        ),
        (
            {"json": {"items": {"pattern": "(a)\\1"}}},
            "`pattern` that uses a back-reference, which is not supported, at its char",
        ),
        ({"json": {"type": "number", "minimum": 3, "maximum": 2}}, "no value fits"),
        ({"json": {"$ref": "https://example.com/x.json"}}, "another document"),
        (
            {"json": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}},
            "itself without end",
        ),
        (
            {"regex": r"(a)\1"},
            "The regular expression uses a back-reference, which is not supported, at its "
            "character 4",
        ),
        ({"regex": "one\ntwo(?<=x)"}, "look-behind, which is not supported, at its character 8"),
        ({"regex": r"\p{Nonsense}"}, "Unicode property"),
        ({"regex": "(a{1000}){1000}"}, "memory"),
        ({"grammar": "start: a\na: b"}, "rule b"),
        ({"grammar": 'start: "a" )'}, "line 1"),
    ],
)
def test_what_is_wrong_is_said_in_our_words(
    checker: GuideChecker, outputs: dict[str, Any], word: str
) -> None:
    guide = as_guide(outputs)
    assert guide is not None
    text = words(checker, guide)
    assert word in text
    assert len(text) < 200


def test_a_schema_that_keeps_the_checker_busy_is_cut_off(checker: GuideChecker) -> None:
    slow = {f"p{i}": {"pattern": rf"\b{'a?' * 40}{i}\b"} for i in range(500)}
    assert "too long" in words(checker, guide_of(json={"properties": slow}))


def test_a_tools_schema_is_named_by_its_tool(checker: GuideChecker) -> None:
    """Also where it is the engine that refuses it."""
    good = {"type": "object", "properties": {"a": {"type": "integer"}}}
    for bad, word in (
        ({"uniqueItems": True}, "`uniqueItems`"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "no value"),
    ):
        schemas = (
            NamedSchema("one", "the tool `first`", good),
            NamedSchema("two", "the tool `second`", bad),
        )
        calls = Calls("start: one | two", schemas)
        text = words(checker, Guide("tool_calls", msgspec.json.encode(calls).decode()))
        assert word in text
        assert "JSON schema of the tool `second`" in text


def test_a_guide_that_never_was_checked_for_size_is_not_looked_at(checker: GuideChecker) -> None:
    assert "read" in words(checker, Guide("regex", "(" * 5000))
    assert "read" in words(checker, Guide("json_schema", "[" * 100_000))


def test_verdicts_are_remembered_but_not_a_workers_own_trouble() -> None:
    known = KnownGuides()
    good, bad = Guide("regex", "a"), Guide("regex", "b")
    assert known.verdict(good) is None
    known.learn(known.key(good), good)
    known.learn(known.key(bad), Failure("restarted", "A worker died."))
    assert known.verdict(good) == good
    assert known.verdict(bad) is None
    known.learn(known.key(bad), Failure("invalid_request", "No.", code=CODE))
    assert isinstance(known.verdict(bad), Failure)
    for number in range(REMEMBERED):
        known.learn(str(number), good)
    assert known.verdict(good) is None


@pytest.mark.parametrize(
    "given",
    [{}, {"json": {}, "regex": "a"}, {"regex": ""}, {"choice": "yes"}, {"choice": [1]},
        {"json": "{"}, {"json": 3},
     {"xml": "a"}, "json"],
)  # fmt: skip
def test_what_is_no_structured_output_is_a_value_error(given: Any) -> None:
    with pytest.raises(ValueError, match="structured_outputs"):
        as_guide(given)
