"""The table of all settings of `thespis serve`: each has a flag, a variable (`THESPIS_` and the
flag's name) and a name in a file of settings. Which of these goes before which is decided in
frontends/cli/settling.py."""

import difflib
import json
import types
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from .documented import field_docs
from .engine import EngineConfig
from .environment import OURS, Environment, names_of
from .replicas import ReplicasConfig
from .server import ServerConfig

SWITCHES = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(
    ("0", "false", "no", "off"), False
)
"""How a variable says yes and no."""


class Setting(NamedTuple):
    name: str
    schema: type[msgspec.Struct]
    """Whose field it is."""
    kind: Any
    """Its type."""
    text: str

    @property
    def flag(self) -> str:
        return "MODEL" if self.name == "model" else "--" + self.name.replace("_", "-")

    @property
    def variables(self) -> tuple[str, ...]:
        """The first that is set counts."""
        shared = self.name in Environment.__struct_fields__
        return names_of(self.name) if shared else (OURS + self.name.upper(),)


def _table() -> Iterator[Setting]:
    for schema in (ReplicasConfig, ServerConfig, EngineConfig):
        docs, hints = field_docs(schema), get_type_hints(schema, include_extras=True)
        for name in schema.__struct_fields__:
            if name in docs:  # what has no text is not for people
                yield Setting(name, schema, hints[name], docs[name])


SETTINGS = {setting.name: setting for setting in _table()}


def without_none(kind: Any) -> Any:
    """The type itself, of a setting that may be left out."""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (arm for arm in get_args(kind) if arm is not type(None))
    return kind


def is_list(setting: Setting) -> bool:
    return get_origin(without_none(setting.kind)) is tuple


def from_text(setting: Setting, text: str) -> Any:
    """The value that a variable has. Raises ValueError that says what is expected."""
    kind = without_none(setting.kind)
    if kind is bool:
        if (value := SWITCHES.get(text.lower())) is None:
            raise ValueError(f"expected one of {', '.join(SWITCHES)}")
        return value
    if is_list(setting):  # a key may be of any characters
        return [text] if setting.name == "api_key" else text.replace(",", " ").split()
    if get_origin(kind) is dict:
        return _json_object(text)
    if get_origin(kind) is Literal:
        return _one_of(get_args(kind), text)
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        raise ValueError(f"expected a {'whole ' if kind is int else ''}number") from None


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value


def _one_of(words: tuple[str, ...], text: str) -> str:
    if text not in words:
        near = difflib.get_close_matches(text, words, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"expected one of {', '.join(words)}{meant}")
    return text
