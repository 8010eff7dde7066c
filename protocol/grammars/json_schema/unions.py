"""Alternatives that a property tells apart. Where its tag may be left out, since it has a default,
a value may fit several of them, and the library that wrote the schema cannot read it: so a tag is
required.
"""

import json
from typing import Any

from .document import Document, is_bare_ref


def tagged(document: Document, schema: dict[str, Any], options: list[Any], where: str) -> list[Any]:
    """The alternatives of a schema, each with its tag required, if there is one. Raises
    SchemaError."""
    meant = [_meant(document, option, where) for option in options]
    told = schema.get("discriminator")
    tag = told.get("propertyName") if isinstance(told, dict) else None
    if not isinstance(tag, str):
        tag = _common_tag(meant) if "oneOf" in schema else None
    if tag is None:
        return options
    return [_requiring(option, target, tag) for option, target in zip(options, meant, strict=True)]


def _requiring(option: Any, target: Any, tag: str) -> Any:
    if not isinstance(target, dict) or tag not in _dict(target.get("properties")):
        return option
    required = target.get("required") or []
    if not isinstance(required, list) or tag in required:
        return option
    return {**option, "required": [*(required if option is target else ()), tag]}


def _common_tag(options: list[Any]) -> str | None:
    """A property that has other values in each."""
    if len(options) < 2 or not all(isinstance(option, dict) for option in options):
        return None
    for name in _dict(options[0].get("properties")):
        each = [_values(_dict(option.get("properties")).get(name)) for option in options]
        values = [value for values in each for value in values]
        if all(each) and len(values) == len(set(values)):
            return str(name)
    return None


def _values(schema: Any) -> list[str]:
    if not isinstance(schema, dict):
        return []
    listed = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(listed, list):
        return []
    return [json.dumps(value, sort_keys=True) for value in listed]


def _meant(document: Document, option: Any, where: str) -> Any:
    if isinstance(option, dict) and is_bare_ref(option):
        return document.resolve(option["$ref"], where)[0]
    return option


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
