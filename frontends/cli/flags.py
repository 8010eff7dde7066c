"""Flags made from the configuration Structs: description, unit and default of every field."""

import argparse
import json
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from ...protocol.config.documented import field_docs
from ...protocol.config.engine import HINTS, HostName, configure
from ...protocol.config.server import OriginName
from ...protocol.config.settings import without_none

S = TypeVar("S", bound=msgspec.Struct)


EXAMPLES = {
    "limit_mm_per_prompt": '{"image": 2}',
    "media_io_kwargs": '{"video": {"num_frames": 8}}',
    "mm_processor_kwargs": '{"max_pixels": 100000}',
    "pooler_config": '{"pooling_type": "MEAN"}',
    "speculative_config": '{"method": "ngram", "num_speculative_tokens": 4}',
}
"""What a flag's JSON looks like, for those who gave something else."""


def add_flags(
    parser: argparse._ActionsContainer, schema: type[msgspec.Struct], skip: Sequence[str] = ()
) -> None:
    """One flag per described field. What is not given is left to the Struct's default."""
    hints, docs = get_type_hints(schema, include_extras=True), field_docs(schema)
    for field in msgspec.structs.fields(schema):
        if field.name in skip or field.name not in docs:
            continue
        kind = without_none(hints[field.name])
        default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        text = docs[field.name].replace("%", "%%")
        if default is not None and "default" not in docs[field.name]:
            text += f" (default: {_shown(default)})"
        flag = "--" + field.name.replace("_", "-")
        options: dict[str, Any] = {"dest": field.name, "default": argparse.SUPPRESS, "help": text}
        parser.add_argument(flag, **options, **_reading(kind, field.name))


def add_model(parser: argparse.ArgumentParser) -> None:
    words = (
        "checkpoint folder, GGUF file, or ORG/NAME[:GGUF][@REVISION] (default: the bundled model)"
    )
    parser.add_argument("model", nargs="?", default="", metavar="MODEL", help=words)


def add_server(parser: argparse.ArgumentParser) -> None:
    words = "a server that is already running (default: start one, and end it afterwards)"
    parser.add_argument("--base-url", metavar="URL", help=words)
    parser.add_argument("--api-key", metavar="KEY", help="key of that server")


def add_cache(parser: argparse.ArgumentParser) -> None:
    words = "cache folder (default: HF_HUB_CACHE, else HF_HOME/hub)"
    parser.add_argument("--download-dir", metavar="TEXT", help=words)


def build(schema: type[S], given: argparse.Namespace, **more: Any) -> S:
    """The Struct from the flags that were given. Raises ValueError naming the field."""
    values = {
        name: value
        for name in schema.__struct_fields__
        if (value := getattr(given, name, None)) is not None
    }
    return configure(schema, {**values, **more})


def _reading(kind: Any, name: str) -> dict[str, Any]:
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(kind) is Literal:
        if name in HINTS:
            words = get_args(kind)
            return {"type": _one_of(words, HINTS[name]), "metavar": f"{{{','.join(words)}}}"}
        return {"choices": get_args(kind)}
    if get_origin(kind) is tuple:
        # Several values after one flag would take MODEL for one of them, unless it can be told
        # apart.
        if get_args(kind)[0] == HostName:
            return {"action": "extend", "nargs": "+", "type": _host_name, "metavar": "HOST"}
        if get_args(kind)[0] == OriginName:
            return {"action": "extend", "nargs": "+", "type": _not_the_model, "metavar": "ORIGIN"}
        return {"action": "append", "type": _not_the_model, "metavar": "TEXT"}
    if get_origin(kind) is dict:
        return {"type": _json_object_like(EXAMPLES.get(name, '{"key": 1}')), "metavar": "JSON"}
    names = {int: "N", float: "X", str: "TEXT"}
    return {"type": kind if kind is str else number(kind), "metavar": names[kind]}


def _is_checkpoint(path: str) -> bool:
    """Unlike pathlib's, this `isfile` says no to a name that is too long for a file."""
    return os.path.isfile(os.path.join(path, "config.json"))


def _not_the_model(text: str) -> str:
    """Refuses what a shell leaves where a variable is not set: `--api-key "$KEY"`, `--api-key $KEY
    MODEL`."""
    if not text or _is_checkpoint(text):
        raise argparse.ArgumentTypeError(
            f"expected a value, got {'the model ' + repr(text) if text else 'an empty one'}"
        )
    return text


def _host_name(text: str) -> str:
    """Refuses what names a file or a URL; the fetcher says more of host names."""
    if re.search(r"[/\\\s]|^[.~]", text) or _is_checkpoint(text):
        form = "a host name has no scheme, port, path or wildcard, and MODEL goes before the flags"
        raise argparse.ArgumentTypeError(f"{text!r} is not a host name: {form}")
    return text


def _one_of(words: Sequence[str], hint: str) -> Callable[[str], str]:
    """As `choices` says it, and the hint."""

    def read(text: str) -> str:
        if text not in words:
            known = ", ".join(map(repr, words))
            raise argparse.ArgumentTypeError(
                f"invalid choice: {text!r} (choose from {known}). {hint}"
            )
        return text

    return read


def number(kind: type[int] | type[float]) -> Callable[[str], float]:
    """Unlike argparse, it says what is wanted in the words of people."""

    def read(text: str) -> float:
        try:
            return kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}") from None

    return read


def _json_object_like(example: str) -> Callable[[str], dict[str, Any]]:
    def read(text: str) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise argparse.ArgumentTypeError(
                f"expected a JSON object such as '{example}', got {text!r}"
            )
        return value

    return read


def _shown(default: Any) -> str:
    match default:
        case bool():
            return "on" if default else "off"
        case () | {}:
            return "none"
        case _:
            return str(default)
