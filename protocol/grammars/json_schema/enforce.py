"""From a caller's schema to one that the grammar engine enforces."""

from typing import Any

from .document import Document, Names, SchemaError, inner, is_bare_ref, said, unsupported, wrong
from .unions import tagged
from .values import patterns, unique, value_keywords

MAX_DEPENDENT = 8
"""Properties on which others depend: each doubles the alternatives."""
_NEVER = ("$dynamicRef", "$recursiveRef", "not", "contains", "unevaluatedItems")


def enforceable(schema: Any) -> Any:
    """Raises SchemaError, which names keyword and place."""
    try:
        return _Enforced(schema).whole()
    except RecursionError:
        raise SchemaError("is nested too deep", "#") from None


class _Enforced:
    def __init__(self, root: Any) -> None:
        self._document = Document(root)
        self._names: dict[tuple[str, bool], str] = {}
        """Of what is referred to, by its place and whether its objects are closed there."""
        self._definitions: dict[str, Any] = {}

    def whole(self) -> Any:
        made = self._schema(self._document.root, "#", Names(), True)
        if not isinstance(made, dict):
            return made
        return {**made, "$defs": self._definitions} if self._definitions else made

    def _schema(self, schema: Any, where: str, outer: Names, closes: bool) -> Any:
        """`outer`: names that the schemas around it allow to the same object. `closes`: nobody else
        will close it."""
        self._document.count()
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise SchemaError("is not valid: a schema must be an object or a boolean", where)
        schema = said(schema)
        if schema.get("not") in (True, {}):
            return False  # as generators write a type that has no values
        if is_bare_ref(schema) and not (closes and outer.properties):
            return {"$ref": self._reference(schema["$ref"], where, closes)}
        names = Names()
        names.add(outer)
        names.add(self._document.names(schema, where))
        branches = [word for word in ("anyOf", "oneOf") if schema.get(word) is not None]
        out = value_keywords(schema, where)
        parts: list[Any] = out.pop("allOf", [])
        parts += self._all_of(schema, where)
        if "$ref" in schema:
            parts.append({"$ref": self._reference(schema["$ref"], where, False)})
        for word in branches:
            parts.append({"anyOf": self._any_of(schema, word, where, names, closes)})
        parts += self._dependent(schema, where)
        out |= self._array(schema, where)
        out |= self._object(schema, where)
        self._check_others(schema, where)
        if closes and not branches and names.declared and not names.opened:
            _close(out, parts, names, where)
        if len(parts) == 1 and not out:
            return parts[0]
        return {**out, "allOf": parts} if parts else out

    def _reference(self, ref: Any, where: str, closes: bool) -> str:
        target, pointer = self._document.resolve(ref, where)
        name = self._names.get((pointer, closes))
        if name is None:
            name = self._names[pointer, closes] = f"d{len(self._names)}"
            self._definitions[name] = self._schema(target, pointer, Names(), closes)
        return f"#/$defs/{name}"

    def _all_of(self, schema: dict[str, Any], where: str) -> list[Any]:
        parts = enumerate(_list(schema, "allOf", where))
        return [self._schema(one, inner(where, "allOf", at), Names(), False) for at, one in parts]

    def _any_of(
        self, schema: dict[str, Any], word: str, where: str, names: Names, closes: bool
    ) -> list[Any]:
        """A `oneOf` is taken for an `anyOf`: that a value fits two of its schemas is not always to
        be seen from them."""
        options = _list(schema, word, where)
        if not options:
            raise SchemaError(f"is one that no value fits: its `{word}` is empty", where)
        parts = enumerate(tagged(self._document, schema, options, where))
        return [self._schema(one, inner(where, word, at), names, closes) for at, one in parts]

    def _dependent(self, schema: dict[str, Any], where: str) -> list[Any]:
        """Either the one is not there, or what depends on it holds."""
        found: list[Any] = []
        for word in ("dependentRequired", "dependentSchemas", "dependencies"):
            for name, needed in _dict(schema, word, where).items():
                then: dict[str, Any] = {"required": [name], "allOf": [needed]}
                if isinstance(needed, list):
                    if set(needed) <= set(schema.get("required") or ()):
                        continue
                    then = {"required": [name, *needed]}
                made = self._schema(then, inner(where, word, name), Names(), False)
                found.append({"anyOf": [{"properties": {name: False}}, made]})
        if len(found) > MAX_DEPENDENT:
            text = f"has more than {MAX_DEPENDENT} properties that others depend on"
            raise SchemaError(text, where)
        return found

    def _array(self, schema: dict[str, Any], where: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        prefix, items, word = schema.get("prefixItems"), schema.get("items"), "prefixItems"
        if isinstance(items, list):  # before 2020-12
            prefix, items, word = items, schema.get("additionalItems"), "items"
        if prefix is not None:
            if not isinstance(prefix, list):
                raise wrong(word, "a list of schemas", where)
            out["prefixItems"] = [
                self._fresh(part, inner(where, word, index)) for index, part in enumerate(prefix)
            ]
            most = schema.get("maxItems")
            if items is None and (most is None or most <= len(prefix)):
                items = False  # a tuple is as closed as an object
        if items is not None:
            out["items"] = self._fresh(items, inner(where, "items"))
        arrays = unique(schema, self._plain(items, where), where)
        return out if arrays is None else {"enum": arrays}

    def _object(self, schema: dict[str, Any], where: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if "properties" in schema:
            out["properties"] = {
                name: self._fresh(part, inner(where, "properties", name))
                for name, part in _dict(schema, "properties", where).items()
            }
        if required := schema.get("required"):
            listed = required if isinstance(required, list) else [None]
            if not all(isinstance(name, str) for name in listed):
                raise wrong("required", "a list of names", where)
            out["required"] = list(dict.fromkeys(required))
        for pattern, part in _dict(schema, "patternProperties", where).items():
            key = _one_pattern(pattern, where)
            out.setdefault("patternProperties", {})[key] = self._fresh(
                part, inner(where, "patternProperties", pattern)
            )
        rest = schema.get("additionalProperties")
        if rest is None and isinstance(schema.get("unevaluatedProperties"), dict):
            rest = schema["unevaluatedProperties"]
            if schema.keys() & {"allOf", "anyOf", "oneOf", "$ref"}:
                raise unsupported("unevaluatedProperties", where)
        if rest is not None:
            out["additionalProperties"] = self._fresh(rest, inner(where, "additionalProperties"))
        if schema.get("propertyNames") not in (None, True, {}):
            self._name(out, schema["propertyNames"], where)
        return out

    def _name(self, out: dict[str, Any], rule: Any, where: str) -> None:
        """`propertyNames`: a list of names becomes properties, a rule for texts becomes a
        pattern."""
        rule = self._plain(rule, where)
        if not isinstance(rule, dict):
            raise unsupported("propertyNames", where)
        rest = out.get("additionalProperties", True)
        made = value_keywords(rule, inner(where, "propertyNames"))
        names = [rule["const"]] if "const" in rule else rule.get("enum")
        own = out.get("properties", {})
        if names is not None:
            named = {name: own.get(name, rest) for name in names if isinstance(name, str)}
            out["properties"] = named | dict.fromkeys(own.keys() - named.keys(), False)
            out["additionalProperties"] = False
        elif made.keys() & {"pattern", "minLength", "maxLength"}:
            several = "allOf" in made or {"pattern", "minLength"} <= made.keys()
            if own or several or "patternProperties" in out:
                raise unsupported("propertyNames", where)
            sizes = f"{{{made.get('minLength', 0)},{made.get('maxLength', '')}}}"
            out["patternProperties"] = {made.get("pattern", f"^(?s:.){sizes}$"): rest}
            out["additionalProperties"] = False
        elif rule.keys() & {"anyOf", "oneOf", "allOf", "not", "if"}:
            raise unsupported("propertyNames", where)

    def _fresh(self, schema: Any, where: str) -> Any:
        """Of another value than the one around it."""
        return self._schema(schema, where, Names(), True)

    def _plain(self, schema: Any, where: str) -> Any:
        """What a schema that only refers means."""
        if isinstance(schema, dict) and is_bare_ref(schema):
            return self._document.resolve(schema["$ref"], where)[0]
        return schema

    def _check_others(self, schema: dict[str, Any], where: str) -> None:
        for word in [word for word in _NEVER if word in schema]:
            match word:
                case "not":
                    idle = schema[word] is False
                case "contains":
                    idle = schema.get("minContains") == 0 and schema.get("maxContains") is None
                case "unevaluatedItems":
                    told = bool(schema.keys() & {"items", "prefixItems"})
                    idle = told or schema[word] in (True, {})
                case _:
                    idle = False
            if not idle:
                raise unsupported(word, where)
        branches = [schema.get(word, True) for word in ("then", "else")]
        if "if" in schema and any(branch not in (True, {}) for branch in branches):
            raise unsupported("if", where)


def _close(out: dict[str, Any], parts: list[Any], names: Names, where: str) -> None:
    """No property but those that are named here or around here."""
    if "additionalProperties" in out:
        return  # by its own word
    own = dict.fromkeys(names.properties, True) | out.get("properties", {})
    shape: dict[str, Any] = {"properties": own}
    patterns_of = {_one_pattern(name, where): True for name in names.patterns}
    if known := patterns_of | out.get("patternProperties", {}):
        shape["patternProperties"] = known
    shape["additionalProperties"] = False
    if not parts:
        out.update(shape)
        if not out.keys() & {"type", "enum", "const"}:
            out["type"] = "object"
        return
    parts.append({**shape, "properties": dict.fromkeys(names.properties, True)})


def _one_pattern(pattern: str, where: str) -> str:
    first, *more = patterns(pattern, "patternProperties", where)
    if more:
        text = "has a `patternProperties` that looks ahead, which is not supported"
        raise SchemaError(text, where)
    return first


def _list(schema: dict[str, Any], word: str, where: str) -> list[Any]:
    value = schema.get(word)
    if not isinstance(value, list | None):
        raise wrong(word, "a list of schemas", where)
    return value or []


def _dict(schema: dict[str, Any], word: str, where: str) -> dict[str, Any]:
    value = schema.get(word)
    if not isinstance(value, dict | None):
        raise wrong(word, "an object", where)
    return value or {}
