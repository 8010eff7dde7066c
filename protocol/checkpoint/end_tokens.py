"""Which tokens end an answer. Published checkpoints name them in up to five places that do not
agree: all of them count."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ..errors import EngineError
from .json_files import Json, read_object


class _Added(msgspec.Struct):
    id: int
    content: str


class _Tokenizer(msgspec.Struct):
    """What is looked at of a tokenizer.json."""

    added_tokens: tuple[_Added, ...] = ()
    model: dict[str, msgspec.Raw] = {}


def end_tokens(folder: Path, configs: Iterable[Json]) -> tuple[int, ...]:
    """The union of what generation_config.json, config.json's parts and the tokenizer's files name,
    in this order.

    `configs`: config.json and those of its parts that tell of the model that answers. Raises
    EngineError for what is no id.
    """
    ids: list[int] = []
    for source in (read_object(folder, "generation_config.json"), *configs):
        value = source.get("eos_token_id")
        found = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(id) is int for id in found):
            text = f"The eos_token_id of the model in {str(folder)!r} is no token id: {value!r}."
            raise EngineError(text)
        ids.extend(found)
    return tuple(dict.fromkeys([*ids, *_of_tokenizer(folder)]))


def _of_tokenizer(folder: Path) -> Iterator[int]:
    """Turns of Qwen3.5 end with a token that only its tokenizer names."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        stated = read_object(folder, name)
        named = stated.get("eos_token")
        text = named.get("content") if isinstance(named, dict) else named
        if isinstance(text, str):
            id = _listed(stated.get("added_tokens_decoder"), text)
            id = token_id(folder, text) if id is None else id
            if id is not None:
                yield id
            return


def _listed(tokens: Any, text: str) -> int | None:
    """The id of a token in a tokenizer_config.json's list of those that were added."""
    for id, entry in tokens.items() if isinstance(tokens, dict) else ():
        if isinstance(entry, dict) and entry.get("content") == text:
            return int(id)
    return None


def token_id(folder: Path, text: str) -> int | None:
    """The id of a token that tokenizer.json names as it is written; None: it does not know it."""
    try:
        tokenizer = msgspec.json.decode((folder / "tokenizer.json").read_bytes(), type=_Tokenizer)
    except (OSError, msgspec.DecodeError):  # said by whoever needs the tokenizer
        return None
    for added in tokenizer.added_tokens:
        if added.content == text:
            return added.id
    vocabulary = msgspec.json.decode(tokenizer.model.get("vocab", msgspec.Raw(b"{}")))
    if isinstance(vocabulary, dict):
        id = vocabulary.get(text)
        return id if isinstance(id, int) else None
    return next((id for id, entry in enumerate(vocabulary) if entry[:1] == [text]), None)
