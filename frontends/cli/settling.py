"""What `thespis serve` is told: by flag, else by variable, else by a file of settings, else by
default."""

import difflib
import os
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple, TypeVar, get_args

import msgspec

from ...protocol.config.engine import EngineConfig, HostName, configure
from ...protocol.config.environment import OURS, Environment
from ...protocol.config.replicas import ReplicasConfig
from ...protocol.config.server import OriginName, ServerConfig
from ...protocol.config.settings import (
    SETTINGS,
    Setting,
    from_text,
    is_list,
    without_none,
)
from ...protocol.errors import EngineError
from ..unbuilt import NEAR, nearest, unbuilt
from .settings_file import WHAT, check_keys_are_private, read_settings

S = TypeVar("S", bound=msgspec.Struct)

CONFIG = "config"
"""The setting that names the file."""
KEYS = frozenset({"api_key", "api_key_file"})
"""Settings of one thing: who gives one of them has given both."""
KUBERNETES = ("SERVICE_", "PORT_")
"""With these begin the names of what Kubernetes sets in a pod for a Service called `thespis`."""


class Settled(NamedTuple):
    engine: EngineConfig
    server: ServerConfig
    replicas: ReplicasConfig
    remarks: list[str]
    """What the operator should hear."""


def settle(flags: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settled:
    """`flags`: what was given by flag, `config` among it. Raises EngineError or ValueError that say
    which setting is wrong and where it stands, and of a wrong name the nearest right one."""
    table = os.environ if environ is None else environ
    remarks = _check_variables(table)
    values: dict[str, Any] = {}
    places: dict[str, str] = {}

    def give(name: str, value: Any, place: str) -> None:
        if name not in places:
            values[name], places[name] = value, place

    def settled(name: str) -> bool:
        return name in KEYS and bool(KEYS & before)

    for name in SETTINGS:
        value = flags.get(name)
        if value is not None and (value != "" or name != "model"):
            give(name, value, "")  # an empty one is a variable that a shell did not know
    before = set(places)
    for setting in SETTINGS.values():
        if not settled(setting.name) and (variable := _variable(setting, table)) is not None:
            give(setting.name, _of_variable(setting, variable, table[variable]), variable)
    before = set(places)
    path = flags.get(CONFIG)
    if path is None:
        path = table.get(OURS + CONFIG.upper(), "").strip() or None
    if path is not None:
        for name, value in _of_file(path).items():
            if settled(name):
                continue
            if name in KEYS and _is_empty(value):  # and would let everybody in
                raise EngineError(f"{WHAT} {path!r} has an empty {name}: fill it, or take it out.")
            if value is not None:
                give(name, value, f"{WHAT.lower()} {path!r}")
    return Settled(
        _made(EngineConfig, values, places),
        _made(ServerConfig, values, places),
        _made(ReplicasConfig, values, places),
        remarks,
    )


def _made(schema: type[S], values: Mapping[str, Any], places: Mapping[str, str]) -> S:
    own = {name: value for name, value in values.items() if name in schema.__struct_fields__}
    try:
        return configure(schema, own)
    except ValueError as error:
        text = str(error)
        found = re.search(r"`\$\.(\w+)", text) or re.match(r"(\w+)", text)
        place = places.get(found[1] if found else "", "")
        raise ValueError(f"{text} It stands in {place}." if place else text) from None


def _variable(setting: Setting, table: Mapping[str, str]) -> str | None:
    """The one that counts, if one is set. An empty one is not."""
    found = next((name for name in setting.variables if table.get(name, "").strip()), None)
    if found is not None and setting.name == "port" and "://" in table[found]:
        return None  # Kubernetes' address of a Service
    return found


def _of_variable(setting: Setting, variable: str, text: str) -> Any:
    try:
        return from_text(setting, text.strip())
    except ValueError as error:
        shown = "" if setting.name in KEYS else f" is {text!r}"
        raise EngineError(f"{variable}{shown}: {error}.") from None


def _of_file(path: str) -> dict[str, Any]:
    found = read_settings(path)
    for name in found:
        if name not in SETTINGS:
            raise EngineError(
                f"{WHAT} {path!r} has {name!r}, and there is no such setting.{_meant(name)}"
            )
    if "api_key" in found:
        check_keys_are_private(path)
    for name, value in found.items():
        if not _is_as_text(SETTINGS[name], value):
            raise EngineError(
                f"{WHAT} {path!r}: {name} is a text, and YAML takes what stands there for a "
                "number, a date or a switch: write it in quotes."
            )
    return {
        name: [value] if isinstance(value, str) and is_list(SETTINGS[name]) else value
        for name, value in found.items()
    }


def _is_as_text(setting: Setting, value: Any) -> bool:
    """False: a text is wanted, and something else stands there that looks like none of it."""
    kind = without_none(setting.kind)
    if is_list(setting):
        kind = get_args(kind)[0]
    values = value if isinstance(value, list) else [value]
    is_text = kind in (str, HostName, OriginName)
    return not (is_text and any(isinstance(one, bool | int | float | date) for one in values))


def _is_empty(keys: Any) -> bool:
    """There is none, or one without a character."""
    many = keys if isinstance(keys, list) else [keys]
    return not many or any(one is None or not str(one).strip() for one in many)


def _meant(name: str) -> str:
    why, near = unbuilt(name, SETTINGS), nearest(name, SETTINGS)
    if why is None:
        why = f"Did you mean {near}?" if near else "`thespis serve --help` lists them."
    return f" {why}"


def _check_variables(table: Mapping[str, str]) -> list[str]:
    """Raises EngineError for a variable that is spelled nearly as one of ours. What is nothing like
    them may be another program's, and is told alone."""
    known = {*SETTINGS, CONFIG, *Environment.__struct_fields__}
    strange = []
    for variable in sorted(table):
        name = variable.removeprefix(OURS)
        right = name.isupper() and name.lower() in known
        if name == variable or right or name.startswith(KUBERNETES):
            continue
        if near := difflib.get_close_matches(name.lower(), known, n=1, cutoff=NEAR):
            text = f"There is no variable {variable}. Did you mean {OURS}{near[0].upper()}?"
            raise EngineError(text)
        strange.append(variable)
    return [f"variables that mean nothing here: {', '.join(strange)}"] if strange else []
