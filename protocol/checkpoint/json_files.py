"""The small JSON files of a checkpoint folder."""

import json
from pathlib import Path
from typing import Any

from ..errors import EngineError

Json = dict[str, Any]
ENDLESS = ("Infinity", "-Infinity")
DEEPEST = 100
"""Objects and lists in each other: whoever reads a file goes down its parts by recursion."""


def read_object(folder: Path, name: str) -> Json:
    """A file's JSON object; {}: there is no such file. Raises EngineError for one that cannot be
    read, or holds no object."""
    path = f"{name} in {str(folder)!r}"
    try:
        text = (folder / name).read_bytes()
        value = json.loads(text, parse_constant=_constant, object_hook=_tagged)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise EngineError(f"{path} cannot be read as JSON.") from None
    if not isinstance(value, dict):
        raise EngineError(f"{path} holds no JSON object.")
    if _is_deep(value):
        raise EngineError(f"{path} is broken: it is nested more than {DEEPEST} levels deep.")
    return value


def indexed_files(index: Path, whose: str) -> set[str]:
    """The files that an index of weights names. Raises EngineError for one that cannot be read;
    `whose` it is."""
    try:
        return {str(name) for name in json.loads(index.read_bytes())["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        text = f"{index.name} {whose} cannot be read as JSON with a weight_map."
        raise EngineError(text) from None


def _constant(word: str) -> float:
    """An endless number is a limit that somebody lifted; what is no number at all equals nothing,
    itself included."""
    if word == "NaN":
        raise ValueError(word)
    return float(word)


def _tagged(value: Json) -> Any:
    """transformers writes an endless number as an object with one name, for readers that know
    none."""
    endless = value.keys() == {"__float__"} and value["__float__"] in ENDLESS
    return float(value["__float__"]) if endless else value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        lists = [one for one in level if isinstance(one, dict | list)]
        level = [x for one in lists for x in (one.values() if isinstance(one, dict) else one)]
    return bool(level)
