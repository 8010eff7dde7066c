"""Callers' JSON schemas: what the sampler lets through fits the schema as it was written, and what
fits may be said."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thespis.protocol.grammars.json_schema.document import Document, SchemaError
from thespis.protocol.grammars.json_schema.enforce import enforceable

from ...helpers.walking import accepts, as_run, walk

NAME: dict[str, Any] = {"type": "string", "maxLength": 3}
CAT = {
    "properties": {"kind": {"const": "cat", "default": "cat"}, "lives": {"type": "integer"}},
    "required": ["lives"],
}
DOG = {
    "properties": {"kind": {"const": "dog", "default": "dog"}, "tricks": {"type": "boolean"}},
    "required": ["tricks"],
}
MAPPING = {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"}
UNION = {
    "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
    "discriminator": {"propertyName": "kind", "mapping": MAPPING},
    "$defs": {"Cat": {"type": "object", **CAT}, "Dog": {"type": "object", **DOG}},
}
OVERLAPPING = [{"type": "integer"}, {"type": "number"}]
NODE: dict[str, Any] = {
    "$ref": "#/$defs/Node",
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {"v": {"type": "null"}, "next": {"$ref": "#/$defs/Node"}},
        }
    },
}


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


CASES: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    # Annotations and what says nothing (B8)
    ({"type": "string", "format": "uri-reference"}, ["../x"], [1]),
    ({"type": "string", "format": "date", "pattern": "^x"}, ["xy"], ["2020-01-01"]),
    ({"type": "string", "format": "date", "maxLength": 3}, ["xy"], ["2020-01-01"]),
    ({"type": "string", "format": "date"}, ["2020-01-01"], ["x"]),
    ({"type": "integer", "format": "int32", "x-order": 1, "title": "T", "deprecated": True,
        "readOnly": True}, [1], ["1"]),
    ({"type": "array", "uniqueItems": False, "minItems": 0, "contains": {}, "minContains": 0},
        [[], [1, 1]], [1]),
    ({"type": "array", "items": NAME, "uniqueItems": True, "maxItems": 1}, [[], ["a"]],
        [["a", "b"]]),
    ({"type": "array", "items": {"enum": [1, "a"]}, "uniqueItems": True, "minItems": 1},
        [[1], ["a", 1]], [[], [1, 1]]),
    ({"type": "string", "nullable": True, "contentEncoding": "base64",
        "contentMediaType": "image/png"}, ["a"], [None]),
    ({"type": "integer", "if": {"minimum": 3}, "not": False, "unevaluatedItems": True}, [1, 4],
        ["a"]),
    ({"type": "object", "dependentRequired": {}, "propertyNames": {}, "minProperties": 0,
        "allOf": []}, [{}, {"a": 1}], [1]),
    (UNION, [{"kind": "cat", "lives": 9}, {"kind": "dog", "tricks": True}],
        [{"kind": "dog", "lives": 9}, {"lives": 9}, {}]),
    ({"oneOf": [{"type": "object", **CAT}, {"type": "object", **DOG}]},
        [{"kind": "cat", "lives": 9}], [{"lives": 9}]),
    ({"anyOf": [{"type": "object", **CAT}, {"type": "object", **DOG}]}, [{"lives": 9}],
        [{"kind": "cat", "x": 1}]),
    ({"oneOf": OVERLAPPING}, [1, 1.5], ["a"]),
    # Types without values: `never` in TypeScript
    (obj(a=NAME, b={"not": {}}), [{}, {"a": "x"}], [{"b": 1}, {"c": 1}]),
    (obj(a={"not": True, "description": "gone"}), [{}], [{"a": None}]),
    ({"anyOf": [{"not": {}}, {"type": "null"}]}, [None], [1]),
    ({"type": "array", "items": {"not": {}}}, [[]], [[1]]),
    ({"type": "object", "additionalProperties": {"not": {}}}, [{}], [{"a": 1}]),
    # Values
    ({"enum": [1, "a", None, {"k": [1]}, 1.5]}, [1, "a", None, {"k": [1]}, 1.5], [2, "b"]),
    ({"type": ["string", "null"], "enum": ["a", None, 3]}, ["a", None], [3]),
    ({"type": "number", "minimum": 1, "exclusiveMinimum": True}, [1.5, 2], [1]),
    ({"type": "integer", "minimum": -(2**63), "maximum": 2**64}, [0, -5], [1.5]),
    ({"type": "number", "minimum": -1e20, "maximum": 1.7e308}, [0, 1.5], ["a"]),
    ({"type": "string", "pattern": r"^\bab\b"}, ["ab", "ab c"], ["abc"]),
    ({"type": "string", "pattern": r"^(?=.*\d)(?=.*[a-z]).{3,20}$"}, ["a1b"], ["abc", "a1"]),
    # Arrays
    ({"type": "array", "prefixItems": [NAME, {"type": "null"}]}, [["a", None], ["a"]],
        [["a", None, 1], [1]]),
    ({"type": "array", "items": [NAME], "additionalItems": {"type": "null"}}, [["a"], ["a", None]],
        [["a", 1]]),
    ({"type": "array", "items": [NAME, NAME], "minItems": 2, "maxItems": 2}, [["a", "b"]],
        [["a"], ["a", "b", "c"]]),
    # Objects are closed unless opened (B9)
    (obj(a=NAME), [{}, {"a": "x"}], [{"b": 1}, {"a": "x", "b": 1}]),
    ({**obj(a=NAME), "additionalProperties": True}, [{"a": "x", "b": 1}], []),
    ({**obj(a=NAME), "unevaluatedProperties": {"type": "null"}}, [{"a": "x", "b": None}],
        [{"b": 1}]),
    ({**obj(a=NAME), "unevaluatedProperties": False}, [{"a": "x"}, {}], [{"b": 1}]),
    ({**obj(a=NAME), "required": ["a", "z"]}, [{"a": "x", "z": [1]}],
        [{"a": "x"}, {"a": "x", "z": 1, "b": 1}]),
    ({"type": "object"}, [{}, {"a": {"b": [1]}}], [[]]),
    ({}, [{"a": 1}, [1], "x", None], []),
    (obj(), [{}], [{"a": 1}]),
    ({"properties": {"a": NAME}}, [{"a": "x"}], [{"b": 1}, 3]),
    ({"type": "object", "patternProperties": {"^x": {"type": "null"}}}, [{"x1": None}],
        [{"y": None}, {"x1": 1}]),
    ({"type": "object", "additionalProperties": {"type": "null"}}, [{"q": None}], [{"q": 1}]),
    ({"allOf": [obj(a=NAME), obj(b=NAME)], "required": ["a"]}, [{"a": "x", "b": "y"}],
        [{"a": "x", "c": 1}, {"b": "y"}]),
    ({"allOf": [{"$ref": "#/$defs/B"}, obj(b=NAME)], "$defs": {"B": obj(a=NAME)}},
        [{"a": "x", "b": "y"}], [{"c": 1}]),
    ({"$ref": "#/$defs/B", **obj(b=NAME), "$defs": {"B": obj(a=NAME)}}, [{"b": "y", "a": "x"}],
        [{"c": 1}]),
    ({**obj(k=NAME),
        "anyOf": [{**obj(a=NAME), "required": ["a"]}, {**obj(b=NAME), "required": ["b"]}]},
     [{"k": "x", "a": "y"}, {"k": "x", "b": "y"}],
     [{"k": "x"}, {"k": "x", "a": "y", "b": "z"}, {"k": "x", "a": "y", "c": 1}]),
    ({**obj(a=NAME, b=NAME), "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        [{"a": "x"}, {"b": "x"}], [{}, {"c": 1}]),
    ({"allOf": [{**obj(a=NAME), "additionalProperties": False}]}, [{"a": "x"}], [{"b": 1}]),
    ({"allOf": [obj(a=NAME), {"additionalProperties": True}]}, [{"a": "x", "b": 1}], []),
    (NODE, [{"v": None, "next": {"next": {}}}], [{"next": {"x": 1}}]),
    ({"type": "array", "items": {"$ref": "#"}}, [[], [[]]], [1]),
    (obj(a={"$ref": "#/properties/b"}, b={"type": "null"}), [{"a": None}], [{"a": 1}]),
    ({"$ref": "#/definitions/a~1b%20c", "definitions": {"a/b c": NAME}}, ["x"], [1]),
    ({"$ref": "#here", "$defs": {"x": {"$anchor": "here", "type": "null"}}}, [None], [1]),
    # Names of properties, and what depends on them
    ({"propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "null"}},
        [{}, {"b": None}], [{"c": None}]),
    ({"type": "object", "propertyNames": {"$ref": "#/$defs/E"}, "$defs": {"E": {"enum": ["a"]}}},
        [{"a": 1}], [{"c": 1}]),
    ({"propertyNames": {"pattern": "^x-"}, "additionalProperties": {"type": "null"}},
        [{"x-a": None}], [{"a": None}]),
    ({"type": "object", "propertyNames": {"minLength": 2, "maxLength": 3}}, [{"ab": 1}],
        [{"a": 1}, {"abcd": 1}]),
    ({"type": "object", "propertyNames": {"type": "string", "format": "uuid"}}, [{"a": 1}], []),
    ({**obj(a=NAME, b=NAME), "dependentRequired": {"a": ["b"]}},
        [{"b": "x"}, {}, {"a": "x", "b": "y"}], [{"a": "x"}]),
    ({**obj(a=NAME), "dependentSchemas": {"a": {**obj(c=NAME), "required": ["c"]}}},
        [{"a": "x", "c": "y"}, {}], [{"a": "x"}]),
    ({**obj(a=NAME, b=NAME), "minProperties": 1, "maxProperties": 1}, [{"a": "x"}, {"b": "x"}],
        [{}, {"a": "x", "b": "y"}]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "good", "bad"), CASES, ids=lambda value: json.dumps(value)[:60])
def test_what_fits_may_be_said_and_nothing_else(
    schema: dict[str, Any], good: list[Any], bad: list[Any]
) -> None:
    guide = as_run(schema)
    old = isinstance(schema.get("items"), list)
    validator = (jsonschema.Draft7Validator if old else jsonschema.Draft202012Validator)(schema)
    assert [value for value in good if not accepts(guide, json.dumps(value))] == []
    assert [value for value in bad if accepts(guide, json.dumps(value))] == []
    for seed in range(2):
        value = json.loads(walk(guide, seed))
        if schema.get("oneOf") != OVERLAPPING:
            validator.validate(value)


NULLS = dict.fromkeys(["enum", "format", "pattern", "items", "properties", "required", "anyOf",
    "allOf", "not", "if", "$ref",
    "additionalProperties", "minimum", "maxLength", "uniqueItems", "contains", "propertyNames",
    "default"])  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({**NULLS, "type": "string"}, ["x"], [1]),
        ({**NULLS, "type": None, "const": None}, [None], [1]),
        (
            {**NULLS, **obj(a={**NULLS, "type": "integer"}), "required": ["a"]},
            [{"a": 1}],
            [{}, {"a": 1, "b": 1}],
        ),
        ({**NULLS, "type": "array", "items": {**NULLS, "type": "boolean"}}, [[True]], [[1]]),
        (
            {**NULLS, "allOf": [{**NULLS, **obj(a=NAME)}, {**NULLS, **obj(b=NAME)}]},
            [{"a": "x", "b": "y"}],
            [{"c": 1}],
        ),
        (
            {**NULLS, "$ref": "#/$defs/A", "$defs": {"A": {**NULLS, **obj(a=NAME)}}},
            [{"a": "x"}],
            [{"c": 1}],
        ),
        (
            {
                **NULLS,
                "anyOf": [{**NULLS, "type": "null"}, {**NULLS, "$ref": "#/$defs/A"}],
                "$defs": {"A": NAME},
            },
            ["x"],
            [1],
        ),
    ],
)
def test_a_keyword_that_is_null_says_nothing(
    schema: dict[str, Any], good: list[Any], bad: list[Any]
) -> None:
    guide = as_run(schema)
    assert [value for value in good if not accepts(guide, json.dumps(value))] == []
    assert [value for value in bad if accepts(guide, json.dumps(value))] == []


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (obj(tags={"items": NAME, "uniqueItems": True}), "uses `uniqueItems`, which is not "
        "supported, at `#/properties/tags`"),
        ({"not": {"type": "null"}}, "uses `not`"),
        ({"items": {"contains": {"type": "null"}}}, "uses `contains`, which is not "
        "supported, at `#/items`"),
        ({"if": {"minimum": 1}, "then": {"maximum": 3}}, "uses `if`"),
        ({"$defs": {"a": {"not": NAME}}, "anyOf": [{"$ref": "#/$defs/a"}]}, "at `#/$defs/a`"),
        ({"type": "array", "unevaluatedItems": False}, "`unevaluatedItems`"),
        ({"$dynamicRef": "#x"}, "`$dynamicRef`"),
        ({"type": "object", "propertyNames": {"not": {"const": "a"}}}, "`propertyNames`"),
        ({"$ref": "other.json#/a"}, "another document"),
        ({"$ref": "#/$defs/none"}, "a definition that it does not have"),
        ({"$ref": "#"}, "refers to itself without end"),
        ({"pattern": "(a"}, "has a `pattern` that has a `(` that "
        "nothing closes, at its character 1"),
        ({"patternProperties": {"(?<=a)b": {}}}, "`patternProperties` that uses look-behind"),
        ({**obj(a=NAME), "additionalProperties": False, "required": ["b"], "not": NAME},
            "uses `not`"),
        ({"type": "objekt"}, "names the type objekt"),
        ({"type": "integer", "minimum": "3"}, "`minimum` must be a number"),
        ({"type": "string", "minLength": -1}, "`minLength` must be a whole number"),
        ({"anyOf": {}}, "`anyOf` must be a list"),
        ({"properties": []}, "`properties` must be an object"),
        ({"properties": {"a": 3}}, "a schema must be an object or a boolean, at `#/properties/a`"),
        ({"required": "a"}, "`required` must be a list of names"),
        ({"enum": []}, "no value fits"),
        ({"type": "number", "minimum": 1e300}, "`minimum` that is too far out"),
    ],
)  # fmt: skip
def test_what_cannot_be_enforced_is_named_with_its_place(schema: Any, words: str) -> None:
    with pytest.raises(SchemaError) as refused:
        enforceable(schema)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 50}}},
        {
            "allOf": [{"$ref": "#/$defs/a"}] * 200,
            "$defs": {"a": {"allOf": [obj(**{f"p{i}": {} for i in range(99)})] * 99}},
        },
        {"properties": {"x": {"$ref": "#/properties/" + "x/" * 500}}},
        obj(**{f"p{i}": {"type": "string", "pattern": rf"\b{'a?' * 30}{i}\b"} for i in range(5)}),
    ],
)
def test_a_schema_that_would_grow_without_end_is_refused_or_made_soon(schema: Any) -> None:
    try:
        made = enforceable(schema)
    except SchemaError:
        return
    assert len(json.dumps(made)) < 8_000_000


class Unwalked(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("it was walked through")


def test_a_reference_into_a_list_costs_the_same_however_long_it_is() -> None:
    document = Document({"anyOf": Unwalked([{"type": "null"}, {"type": "string"}])})
    assert document.resolve("#/anyOf/1", "#") == ({"type": "string"}, "#/anyOf/1")
    for beyond in ("2", "-1", "x", "", "٠"):
        with pytest.raises(SchemaError, match="a definition that it does not have"):
            document.resolve(f"#/anyOf/{beyond}", "#")


_LEAF = st.sampled_from([
    {"type": "integer", "minimum": 0, "maximum": 20}, {"type": "boolean"}, {"type": "null"},
    {"const": "x"}, NAME,
    {"enum": ["a", 1, None]}, {"type": "string", "format": "uuid"},
    {"type": "string", "pattern": "^a+b$", "maxLength": 5},
])  # fmt: skip
_NAMES = st.sampled_from(["a", "b", "c"])


def _wider(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    objects = st.builds(
        lambda properties, required, opened: (
            {"type": "object", "properties": properties, "required": required} | opened
        ),
        st.dictionaries(_NAMES, inner, max_size=3),
        st.lists(_NAMES, max_size=2, unique=True),
        st.sampled_from(
            [{}, {}, {"additionalProperties": False}, {"additionalProperties": {"type": "null"}}]
        ),
    )
    return st.one_of(
        objects,
        st.builds(
            lambda items, least: {"type": "array", "items": items, "minItems": least},
            inner,
            st.integers(0, 2),
        ),
        st.builds(lambda some: {"anyOf": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda some: {"allOf": some}, st.lists(objects, min_size=1, max_size=2)),
        st.builds(
            lambda base, some: {**base, "anyOf": some},
            objects,
            st.lists(objects, min_size=1, max_size=2),
        ),
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(_LEAF, _wider, max_leaves=8), st.integers(0, 9))
def test_whatever_is_said_fits_the_schema_as_it_was_written(
    schema: dict[str, Any], seed: int
) -> None:
    try:
        guide = as_run(schema)
    except Exception as error:
        assert "no value fits" in str(error), (schema, error)  # noqa: PT017
        return
    jsonschema.validate(json.loads(walk(guide, seed)), schema)
