"""One sample of every message, made from its type alone, and the bytes it had when protocol VERSION
was fixed.

After a wanted change of the protocol: raise `thespis.protocol.VERSION` once per release, then write
the bytes anew with `python tests/protocol/golden.py`.
"""

import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
from msgspec import inspect as mi

import thespis.protocol.edges as edges
from thespis.protocol.edges.control import FromDirector, ToControl, ToDirector
from thespis.protocol.requests import request
from thespis.protocol.topology import EDGES
from thespis.protocol.wire import Message, encode

FILE = Path(__file__).with_name("golden.json")


def members(union: Any) -> tuple[type[Any], ...]:
    return get_args(union) or (union,)


def unions() -> dict[str, Any]:
    """Every union that is decoded anywhere, by name."""
    named = {f"{edge.sender} -> {edge.receiver}": edge.union for edge in EDGES}
    return named | {
        "-> director": ToDirector,
        "director ->": FromDirector,
        "client -> control": ToControl,
    }


def messages() -> dict[str, type[Any]]:
    """Every message of every union and every part of a request, by module and name."""
    kinds = {kind for union in unions().values() for kind in members(union)}
    kinds |= {*members(request.Source), *members(request.Prompt), request.Slot}
    return {_name(kind): kind for kind in kinds}


def _name(kind: Any) -> str:
    """`module.Kind`, or `module.Kind[Part]` of one that is made for several parts."""
    parts = ", ".join(part.__name__ for part in get_args(kind))
    of = get_origin(kind) or kind
    return f"{of.__module__.rpartition('.')[2]}.{of.__name__}" + (f"[{parts}]" if parts else "")


def declared() -> set[type[Any]]:
    """Every message class that an edge's file declares, but for what several have in common."""
    found: set[type[Any]] = set()
    for module in pkgutil.iter_modules(edges.__path__):
        loaded = importlib.import_module(f"{edges.__name__}.{module.name}")
        for kind in vars(loaded).values():
            if (
                isinstance(kind, type)
                and issubclass(kind, Message)
                and kind.__module__ == loaded.__name__
                and not kind.__subclasses__()
            ):
                found.add(kind)
    return found


def sample(kind: Any) -> Any:
    """A value of `kind` in which no field has its default, as far as its type allows."""
    return msgspec.convert(_plain(mi.type_info(kind)), kind)


def _plain(info: mi.Type) -> Any:
    """`info` as JSON-like data."""
    match info:
        case mi.StructType():
            fields = {field.encode_name: _plain(field.type) for field in info.fields}
            if info.array_like:
                return list(fields.values())
            return ({info.tag_field: info.tag} if info.tag_field else {}) | fields
        case mi.UnionType():
            return _plain(next(kind for kind in info.types if not isinstance(kind, mi.NoneType)))
        case mi.VarTupleType() | mi.ListType():
            return [_plain(info.item_type)]
        case mi.TupleType():
            return [_plain(kind) for kind in info.item_types]
        case mi.DictType():
            return {_plain(info.key_type): _plain(info.value_type)}
        case mi.LiteralType():
            return info.values[0]
        case mi.Metadata():
            return _plain(info.type)
        case mi.IntType():
            return 1
        case mi.FloatType():
            return 0.5
        case mi.StrType():
            return "text"
        case mi.BytesType():
            return b"\x00\xff"
        case mi.BoolType():
            return True
        case mi.AnyType():
            return "any"
        case mi.NoneType():
            return None
    raise NotImplementedError(f"no sample for {info}")


if __name__ == "__main__":
    table = {name: encode(sample(kind)).hex() for name, kind in sorted(messages().items())}
    FILE.write_text(json.dumps(table, indent=0) + "\n")
