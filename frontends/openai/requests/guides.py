"""The fields that constrain what an answer looks like; only one may be given. Pure."""

from typing import Any

import msgspec

from ....protocol.errors import RequestError, invalid
from ....protocol.requests.guide import Guide, as_guide
from ...inputs.unread import Unread
from .schema import Common

CODE = "invalid_grammar"
GUIDED = {f"guided_{name}": name for name in ("json", "regex", "choice", "grammar")}
"""vLLM's older names, and the field of `structured_outputs` that each stands for."""


def read_guide(request: Common, unread: Unread) -> Guide | None:
    """Raises RequestError 400 that names the field."""
    given: dict[str, Any] = {
        name: value
        for name in ("response_format", "structured_outputs", *GUIDED)
        if (value := getattr(request, name)) is not None
    }
    _check_format(given.get("response_format", {}), unread)
    if given.get("response_format", {}).get("type") == "text":
        del given["response_format"]
    if len(given) > 1:
        raise invalid(f"It excludes `{next(iter(given))}`.", list(given)[1], "contradicting_fields")
    for name, value in given.items():
        if name == "response_format":
            return _response_format(value)
        try:
            guide = as_guide({GUIDED[name]: value} if name in GUIDED else value)
            return guide and msgspec.structs.replace(guide, part=name)
        except (ValueError, TypeError) as error:
            raise _wrong(error, name) from None
    return None


def _check_format(value: dict[str, Any], unread: Unread) -> None:
    """Only one type of response format has a schema."""
    described = value.get("json_schema") if value.get("type") == "json_schema" else None
    unread.check(
        value, ("type",) if described is None else ("type", "json_schema"), "response_format"
    )
    if isinstance(described, dict):
        unread.check(
            described, ("name", "description", "schema", "strict"), "response_format.json_schema"
        )


def _response_format(value: dict[str, Any]) -> Guide | None:
    match value.get("type"):
        case "json_object":
            return Guide("json_object")
        case "json_schema":
            described = value.get("json_schema")
            schema = described.get("schema") if isinstance(described, dict) else None
            return schema_guide(schema, "response_format.json_schema")
        case _:
            known = "text, json_object and json_schema"
            raise invalid(f"The types are {known}.", "response_format.type", "unsupported")


def schema_guide(schema: Any, holder: str, inside: bool = True) -> Guide | None:
    """`holder`: the field that has the `schema`, or with `inside` as false is it."""
    if not isinstance(schema, dict | bool):
        raise invalid("It needs a `schema`.", holder, "missing_field")
    where = f"{holder}.schema" if inside else holder
    try:
        guide = as_guide({"json": schema})
    except ValueError as error:
        raise _wrong(error, where) from None
    return guide and msgspec.structs.replace(guide, part=where)


def _wrong(error: Exception, field: str) -> RequestError:
    """A guide's errors are our own texts, and begin with Python's name, which is replaced."""
    words = str(error).partition(" ")[2] if isinstance(error, ValueError) else ""
    return invalid(f"It {words}" if words else "The value is not valid.", field, CODE)
