"""A file of settings: YAML, of which plain values alone are read."""

import re
from typing import Any

import yaml

from ...protocol.config.small_files import read_small
from ...protocol.errors import EngineError

WHAT = "The file of settings"
_TAG = re.compile(r"""(['"])(?:!|tag:).*\1""")
"""As an error shows it; a key that begins with ! looks like one."""


class _Plain(yaml.SafeLoader):  # type: ignore[misc]
    """Neither objects, nor aliases, by which a few bytes become many, nor a key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            _refuse("aliases (*name) are not read", self.peek_event())
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                _refuse("a name is one word", key)
            if (name := key.value.replace("-", "_")) in seen:
                _refuse(f"{key.value} stands there twice", key)
            seen.add(name)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: Any) -> Any:
        """YAML 1.1 counts `0644` in eights and `22:30` in sixties, and nobody expects it to."""
        if re.fullmatch(r"[-+]?0[0-7_]+|.*:.*", str(node.value)):
            _refuse("a number in eights or sixties: write it in tens, or in quotes", node)
        return super().construct_yaml_int(node)


_Plain.add_constructor("tag:yaml.org,2002:int", _Plain.construct_yaml_int)


def _refuse(why: str, place: Any) -> None:
    raise yaml.MarkedYAMLError(problem=why, problem_mark=place.start_mark)


def read_settings(path: str) -> dict[str, Any]:
    """What stands there by name, with underscores; None: it is left empty. Raises EngineError."""
    data = read_small(path, WHAT)
    try:
        found = yaml.load(data, _Plain)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" (line {mark.line + 1})" if mark is not None else ""
        why = _TAG.sub("that stands there", str(error.problem))
        raise EngineError(f"{WHAT} {path!r} is no YAML: {why}{line}.") from None
    except Exception:  # a value may be tagged as what it is not, and the library looks at none
        raise EngineError(f"{WHAT} {path!r} is no YAML that can be read.") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise EngineError(f"{WHAT} {path!r} is to have a line `name: value` for each setting.")
    return {str(name).replace("-", "_"): value for name, value in found.items()}


def check_keys_are_private(path: str) -> None:
    """Of a file in which a key stands."""
    read_small(path, WHAT, secret=True)
