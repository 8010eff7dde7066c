"""One schema as a document: places in it, what its references mean, and the names that an object of
it may have."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import msgspec

MAX_NODES = 20_000
"""Schemas within one that are looked at."""
_NOT_THERE = "refers to a definition that it does not have"
_OTHERS = ("additionalProperties", "unevaluatedProperties")
"""What they say of properties that are not named."""


class SchemaError(ValueError):
    """Its text goes on from "The JSON schema ..."."""

    def __init__(self, what: str, where: str) -> None:
        shown = "".join(char if char.isprintable() and char != "`" else "?" for char in where)
        super().__init__(what if where == "#" else f"{what}, at `{shown[:160]}`")


def said(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the keywords that are null, as generators in Java and C# write what they do not say;
    a null `const` says it."""
    return {word: value for word, value in schema.items() if value is not None or word == "const"}


def unsupported(keyword: str, where: str) -> SchemaError:
    return SchemaError(f"uses `{keyword}`, which is not supported", where)


def wrong(keyword: str, wanted: str, where: str) -> SchemaError:
    return SchemaError(f"is not valid: `{keyword}` must be {wanted}", where)


def inner(where: str, *steps: str | int) -> str:
    """The JSON pointer of a place within a place."""
    return "/".join([where, *(str(step).replace("~", "~0").replace("/", "~1") for step in steps)])


class Names(msgspec.Struct):
    """What an object may be made of, as far as the schemas say that apply to it together."""

    properties: dict[str, None] = msgspec.field(default_factory=dict)
    patterns: dict[str, None] = msgspec.field(default_factory=dict)
    declared: bool = False
    """Some schema lists properties."""
    opened: bool = False
    """Some schema says what others may be there."""

    def add(self, other: "Names") -> None:
        self.properties |= other.properties
        self.patterns |= other.patterns
        self.declared |= other.declared
        self.opened |= other.opened


class Document:
    def __init__(self, root: Any) -> None:
        self.root = root
        self._anchors: dict[str, Any] | None = None
        self._looked = 0

    def count(self) -> None:
        """One more schema is looked at. Raises SchemaError."""
        self._looked += 1
        if self._looked > MAX_NODES:
            text = "takes too much memory to build: it holds too many schemas; make it simpler"
            raise SchemaError(text, "#")

    def resolve(self, ref: Any, where: str) -> tuple[Any, str]:
        """What a `$ref` means, and where it stands, through references that are nothing else.
        Raises SchemaError."""
        seen: set[str] = set()
        while True:
            target, pointer = self._target(ref, where)
            if pointer in seen:
                raise SchemaError("refers to itself without end", where)
            seen.add(pointer)
            if not isinstance(target, dict) or not is_bare_ref(target):
                return target, pointer
            ref = target["$ref"]

    def _target(self, ref: Any, where: str) -> tuple[Any, str]:
        if not isinstance(ref, str):
            raise wrong("$ref", "a text", where)
        own = self.root.get("$id") if isinstance(self.root, dict) else None
        pointer = ref.removeprefix(own) if isinstance(own, str) and own else ref
        if pointer in ("#", "", "#/"):
            return self.root, "#"
        if not pointer.startswith("#"):
            text = "refers to another document, which is not read: a `$ref` must begin with `#`"
            raise SchemaError(text, where)
        if not pointer.startswith("#/"):
            return self._anchor(pointer[1:], where), pointer
        found: Any = self.root
        for step in pointer[2:].split("/"):
            key: Any = unquote(step).replace("~1", "/").replace("~0", "~")
            there = isinstance(found, dict) and key in found
            if isinstance(found, list) and key.isascii() and key.isdigit():
                key = int(key[:9])
                there = key < len(found)
            if not there:
                raise SchemaError(_NOT_THERE, where)
            found = found[key]
        return found, pointer

    def _anchor(self, name: str, where: str) -> Any:
        if self._anchors is None:
            named = [node for node in _objects(self.root) if isinstance(node.get("$anchor"), str)]
            self._anchors = {node["$anchor"]: node for node in named}
        if name not in self._anchors:
            raise SchemaError(_NOT_THERE, where)
        return self._anchors[name]

    def names(self, schema: Any, where: str, seen: frozenset[str] = frozenset()) -> Names:
        """Of the schema and all that applies with it; of its alternatives only if it stands among
        others."""
        found = Names()
        if not isinstance(schema, dict):
            return found
        self.count()
        schema = said(schema)
        found.properties = dict.fromkeys(_texts(schema.get("properties"), dict))
        if schema.get("unevaluatedProperties") is not False:
            found.properties |= dict.fromkeys(_texts(schema.get("required"), list))
        found.patterns = dict.fromkeys(_texts(schema.get("patternProperties"), dict))
        others = [schema[word] for word in _OTHERS if word in schema]
        listed = bool(schema.keys() & {"properties", "patternProperties"})
        found.declared = listed or any(one is False for one in others)
        found.opened = any(one is not False for one in others)
        found.opened |= "propertyNames" in schema and not found.declared
        if "$ref" in schema:
            target, pointer = self.resolve(schema["$ref"], where)
            if pointer not in seen:
                found.add(self._with_alternatives(target, pointer, seen | {pointer}))
        every, dependent = schema.get("allOf"), schema.get("dependentSchemas")
        parts = [*every] if isinstance(every, list) else []
        parts += dependent.values() if isinstance(dependent, dict) else ()
        for part in parts:
            found.add(self._with_alternatives(part, where, seen))
        return found

    def _with_alternatives(self, schema: Any, where: str, seen: frozenset[str]) -> Names:
        found = self.names(schema, where, seen)
        for word in ("anyOf", "oneOf"):
            for part in schema.get(word) or () if isinstance(schema, dict) else ():
                found.add(self._with_alternatives(part, where, seen))
        return found


_SAYING = frozenset({
    "type", "enum", "const", "format", "pattern", "properties", "required", "items", "prefixItems",
    "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "additionalProperties",
    "patternProperties", "propertyNames", "unevaluatedProperties", "unevaluatedItems",
    "dependentRequired", "dependentSchemas", "dependencies", "contains", "minContains",
    "maxContains", "uniqueItems", "additionalItems", "minLength", "maxLength", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems", "minProperties",
    "maxProperties", "$ref", "$dynamicRef", "$recursiveRef",
})  # fmt: skip
"""Keywords that say something of a value. All others are annotations, as JSON Schema calls them."""


def is_bare_ref(schema: dict[str, Any]) -> bool:
    """A reference with nothing but annotations beside it."""
    return schema.get("$ref") is not None and len(said(schema).keys() & _SAYING) == 1


def _texts(value: Any, kind: type[dict[Any, Any]] | type[list[Any]]) -> list[str]:
    """Names in what should be of this kind."""
    return [name for name in value if isinstance(name, str)] if isinstance(value, kind) else []


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
