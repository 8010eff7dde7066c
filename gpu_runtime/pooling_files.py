"""How a checkpoint's vectors are made, as the files of sentence-transformers beside it say."""

from pathlib import Path
from typing import Any, Literal

import msgspec

from ..protocol.checkpoint import MODULES
from ..protocol.errors import EngineError
from ..protocol.json_files import Json, read_object
from ..protocol.pooling import Pooler

TAKES: dict[str, Literal["last", "mean", "cls"]] = {"lasttoken": "last", "mean": "mean", "cls": "cls"}
"""By the name of sentence-transformers: what is built."""
OLDER = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
"""Switches of the older form, and the modes that they are."""


def pooler_of(folder: Path, stated: Json) -> Pooler:
    """`stated`: config.json. Where nobody says anything: the last token's state, with the length 1.

    Raises EngineError for a step between the states and the vector that is not built.
    """
    pooler = _of_modules(folder) if (folder / MODULES).exists() else Pooler()
    lengths = stated.get("matryoshka_dimensions") or ()
    if not isinstance(lengths, list | tuple) or not all(type(length) is int and length > 0 for length in lengths):
        raise EngineError(f"The config.json of {folder.name!r} is broken: matryoshka_dimensions={lengths!r} are no lengths.")
    cut = bool(lengths) or stated.get("is_matryoshka") is True
    return msgspec.structs.replace(pooler, matryoshka=cut, dimensions=tuple(lengths))


def _of_modules(folder: Path) -> Pooler:
    take: Literal["last", "mean", "cls"] = "last"
    normalize = False
    for module in _modules(folder):
        kind = str(module.get("type")).rpartition(".")[2]
        match kind:
            case "Transformer":
                pass
            case "Pooling":
                take = _take(folder, str(module.get("path") or ""))
            case "Normalize":
                normalize = True
            case _:
                raise EngineError(
                    f"{MODULES} of {folder.name!r} names a {kind}, which is not built: vectors are made of hidden states by "
                    "Pooling and Normalize alone."
                )
    return Pooler(take=take, normalize=normalize)


def _modules(folder: Path) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode((folder / MODULES).read_bytes(), type=list[dict[str, Any]])
    except (OSError, msgspec.DecodeError, RecursionError):
        raise EngineError(f"{MODULES} in {folder.name!r} cannot be read, or is no list of modules.") from None


def _take(folder: Path, path: str) -> Literal["last", "mean", "cls"]:
    inner = (folder / path).resolve()
    if not inner.is_relative_to(folder.resolve()):
        raise EngineError(f"{MODULES} of {folder.name!r} names a folder outside: {path!r}.")
    said = read_object(inner, "config.json")
    mode = said.get("pooling_mode")
    modes = [mode] if isinstance(mode, str) else [name for switch, name in OLDER.items() if said.get(switch)]
    if len(modes) != 1 or modes[0] not in TAKES:
        named = ", ".join(modes) or "none"
        raise EngineError(
            f"The pooling of {folder.name!r} ({path or '.'}/config.json) is {named}, which is not built: there are "
            f"{', '.join(TAKES)}."
        )
    return TAKES[modes[0]]
