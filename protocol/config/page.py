"""Prints docs/environment.md: every variable."""

from typing import get_args, get_type_hints

import msgspec

from .documented import field_docs
from .environment import Environment, names_of
from .settings import SETTINGS, Setting

HEAD = """\
# Environment variables

These are read once, when an engine starts, be it by `thespis serve` or in Python. If `THESPIS_X` is
unset, `VLLM_X` is used instead. A flag or keyword argument of the same name overrides both. With an
invalid value the engine does not start.

| variable | default | unit | meaning |
| --- | --- | --- | --- |
"""
FLAGS = """
`thespis serve` takes every setting by flag, by variable or in a file (`--config FILE`): what a flag
says goes before its variable, that before the file, and that before the default. An empty variable
is not set. Lists are written with commas or blanks between, options of free form as JSON, switches
as `1` or `0`, `true` or `false`, `yes` or `no`, `on` or `off`. A variable that is spelled nearly as
one of these is refused with the right name. What Kubernetes sets for a Service that is called
`thespis` (`THESPIS_PORT=tcp://...`) is read over.

| variable | flag | default | meaning |
| --- | --- | --- | --- |
"""


def page() -> str:
    lines = []
    defaults, docs = Environment(), field_docs(Environment)
    for field, hint in get_type_hints(Environment, include_extras=True).items():
        default = getattr(defaults, field)
        shown = default if isinstance(default, str) else f"{default:.0f}"
        name, unit = names_of(field)[0], get_args(hint)[1].extra["unit"]
        lines.append(f"| `{name}` | {shown} | {unit} | {docs[field]} |\n")
    head = (HEAD, *lines, FLAGS)
    return "".join([*head, *map(_row, SETTINGS.values())])


def _row(setting: Setting) -> str:
    (field,) = (
        field for field in msgspec.structs.fields(setting.schema) if field.name == setting.name
    )
    default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    shown = {True: "on", False: "off"}.get(default) if isinstance(default, bool) else default
    if shown in (None, "", (), {}):
        shown = ""
    text = setting.text.replace("|", "\\|").replace("*:", "`*`:").replace("; * for", "; `*` for")
    return f"| `{setting.variables[0]}` | `{setting.flag}` | {shown} | {text} |\n"


if __name__ == "__main__":
    print(page(), end="")
