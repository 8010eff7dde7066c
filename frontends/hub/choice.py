"""Which files of a model are fetched: those that an engine reads, and none that could hold code."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from ...protocol.checkpoint.foreign import foreign_listing
from ...protocol.checkpoint.hub_id import HubId
from ...protocol.checkpoint.json_files import indexed_files
from ...protocol.errors import EngineError
from .gguf_choice import chosen, is_gguf

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_PLAIN = re.compile(r"[A-Za-z0-9_][\w.+-]{0,254}", re.ASCII)
"""Names of files at the top. A hub may name what it likes, and this becomes a path here."""
_SMALL = re.compile(r".*\.(json|jinja|model)|(merges|vocab)\.txt")
"""Configurations, processors, chat templates, and tokenizers of all forms."""
_MODULES = re.compile(r"[0-9]{1,2}_(Pooling/config\.json|Dense/(config\.json|model\.safetensors))")
"""Of sentence-transformers: files that are not at the top, and the small weights of a Dense."""
_WEIGHTS = re.compile(r"[^/]*\.(safetensors|gguf)")
_TENSORS = ".safetensors"
_NOT_READ = re.compile(
    r"(consolidated|pytorch_model|flax_model|tf_model|adapter_|onnx|openvino|trainer_state|training_args).*"
)
"""Other forms of the weights with their indexes, and what training leaves."""


class HubFile(NamedTuple):
    """One file of a model."""

    name: str
    size: int
    """Bytes."""
    digest: str
    """sha256 of the content in hex; of small files often git's sha1 of it instead."""


class Listing(NamedTuple):
    """A model as it is at one commit."""

    commit: str
    names: frozenset[str]
    """Of all its files, those in folders too."""
    files: tuple[HubFile, ...]
    """Those that may be read."""


def may_be_read(name: str) -> bool:
    """Whether an engine may want the file of this name, wherever it is of use at all."""
    if _MODULES.fullmatch(name):
        return True
    if not _PLAIN.fullmatch(name) or (name.endswith(".index.json") and name != INDEX):
        return False
    return bool(_SMALL.fullmatch(name) or _WEIGHTS.fullmatch(name)) and (
        name == INDEX or not _NOT_READ.fullmatch(name)
    )


def gguf_file(wanted: HubId, names: Collection[str]) -> str | None:
    """The GGUF file that is meant; None: the model is none. Raises EngineError."""
    has_tensors = any(found.endswith(_TENSORS) for found in names)
    if wanted.choice is None and (has_tensors or not any(is_gguf(found) for found in names)):
        return None
    return chosen(names, wanted.choice, wanted.name)


def small_files(wanted: HubId, listing: Listing) -> list[HubFile]:
    """All but the weights. Raises EngineError where the model is nothing that an engine reads."""
    if gguf_file(wanted, listing.names) is None:
        reason = foreign_listing(listing.names, wanted.name)
        if reason is not None:
            raise EngineError(reason)
    return [file for file in listing.files if not _WEIGHTS.fullmatch(file.name)]


def weight_files(wanted: HubId, listing: Listing, folder: Path) -> list[HubFile]:
    """The GGUF file that is meant, else those of the index in `folder`, else the one file, else
    all. Raises EngineError where one is not on the hub."""
    one, name = gguf_file(wanted, listing.names), wanted.name
    if one is not None:
        return [file for file in listing.files if file.name == one]
    tensors = (file for file in listing.files if file.name.endswith(_TENSORS))
    known = {file.name: file for file in tensors if _WEIGHTS.fullmatch(file.name)}
    index = folder / INDEX
    if index.is_file():
        named = indexed_files(index, f"of {name!r}")
    else:  # where there is one, the single file holds the same weights again
        named = {SINGLE} if SINGLE in known and INDEX not in listing.names else set(known)
    missing = sorted(named - known.keys())
    if missing or not named:
        what = "has no weights that are read (*.safetensors)"
        if missing:
            what = f"lacks {missing[0]!r}, which its index names"
        raise EngineError(
            f"{name!r} {what}: it was published in part. Give another model or revision."
        )
    return [known[found] for found in sorted(named)]
