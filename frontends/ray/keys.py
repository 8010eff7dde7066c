"""By what a request is sent where others like it went: keys of its media and of how its prompt
begins. Pure."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

MOST_READ = 16 << 20
"""Bytes of a body that is read for its keys: a longer one has none."""
AT_ONCE = 1 << 18
"""Bytes of a body that is read on the loop: a longer one in a thread."""
MOST_VALUES = 1 << 14
"""Of its structure, counted by its commas: reading it takes a few milliseconds then."""
HEAD = 256
"""Characters of a text that make a beginning that is worth sharing."""
MOST_MEDIA = 8
_TURNS = ("messages", "input", "contents")
_TEXTS = ("prompt", "system", "instructions")
_CREDENTIALS = ("authorization", "x-api-key", "api-key")


class LikeKeys(NamedTuple):
    """Digests, which tell nothing of what they are made of."""

    own: tuple[str, ...] = ()
    """Of its media and its conversation: who has them saves their computing."""
    shared: str = ""
    """Of what many begin with, such as a long system prompt."""


def keys_of(headers: Mapping[str, str], body: bytes, salt: str) -> LikeKeys:
    """`salt`: the service's own, so that nobody can foretell where a request goes. Nothing of one
    tenant is another's."""
    if not body.startswith(b"{") or len(body) > MOST_READ or body.count(b",") > MOST_VALUES:
        return LikeKeys()
    try:
        return _read(headers, msgspec.json.decode(body), salt)
    except (msgspec.DecodeError, RecursionError):  # the latter of what is said of it, too
        return LikeKeys()  # a replica says what is wrong with it


def _read(headers: Mapping[str, str], asked: Mapping[str, Any], salt: str) -> LikeKeys:
    tenant = "".join(headers.get(name, "") for name in _CREDENTIALS)
    digest = _Digests(f"{salt}\0{tenant}\0{asked.get('model')}")
    turns = _turns(asked)
    media = dict.fromkeys(digest.of(part) for part in _media((asked, *turns)))
    own = list(media)[:MOST_MEDIA]
    system, first = _beginning(asked, turns)
    if first:
        shown = [digest.of(part) for part in _media(_until_user(turns))]  # of the same words
        own.append(digest.of(["begins", system, first, shown]))
    return LikeKeys(tuple(own), digest.of(["shared", system[:HEAD]]) if len(system) >= HEAD else "")


class _Digests:
    def __init__(self, tenant: str) -> None:
        self._key = hashlib.blake2b(tenant.encode("utf-8", "replace"), digest_size=32).digest()

    def of(self, value: Any) -> str:
        body = msgspec.json.encode(value, order="sorted")
        return hashlib.blake2b(body, key=self._key, digest_size=12).hexdigest()


def _turns(asked: Mapping[str, Any]) -> list[Any]:
    return next((asked[name] for name in _TURNS if isinstance(asked.get(name), list)), [])


def _until_user(turns: Sequence[Any]) -> Sequence[Any]:
    for number, turn in enumerate(turns, start=1):
        if not (isinstance(turn, dict) and turn.get("role") in ("system", "developer")):
            return turns[:number]
    return turns


def _parts(turn: Any) -> Iterator[Any]:
    content = turn.get("content") if isinstance(turn, dict) else None
    if isinstance(content, list):
        yield from content
    elif isinstance(content, str):
        yield content
    if isinstance(turn, dict):
        yield from ({"type": "image", "data": one} for one in _list(turn.get("images")))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _media(turns: Sequence[Any]) -> Iterator[Any]:
    """Every part that is no text; of a part with an id, that alone. A body may be its own turn."""
    for turn in turns:
        for part in _parts(turn):
            kind = part.get("type") if isinstance(part, dict) else None
            if isinstance(kind, str) and "text" not in kind and not kind.startswith("tool"):
                told = part.get("uuid")
                yield ["id", told] if isinstance(told, str) else part


def _text(turn: Any) -> str:
    return "\n".join(
        part if isinstance(part, str) else str(part.get("text") or "")
        for part in _parts(turn)
        if isinstance(part, str | dict)
    )


def _beginning(asked: Mapping[str, Any], turns: Sequence[Any]) -> tuple[str, str]:
    """What stands before the first words of a user, and those: every later turn of a conversation
    begins with the same."""
    system = "\n".join(str(asked[name]) for name in _TEXTS[1:] if asked.get(name))
    for turn in turns:
        if isinstance(turn, dict) and turn.get("role") in ("system", "developer"):
            system += "\n" + _text(turn)
        else:
            return system, _text(turn)
    prompt = asked.get("prompt", asked.get("input"))
    text = prompt if isinstance(prompt, str) else ""
    return (text[:HEAD], text[:HEAD]) if len(text) >= HEAD else (system, text)
