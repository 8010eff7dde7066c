"""What the door of a service reads of a simulated request: its body, and keys as the door makes
them."""

from typing import Any

import msgspec

from thespis.frontends.ray.keys import LikeKeys, keys_of

from .asking import Ask

CHARACTERS = 4
"""Of a token."""
SALT = "simulated"


def body_of(ask: Ask, grain: int = 1) -> bytes:
    """A conversation's first turn: a system prompt that others have too, pictures by their
    addresses, and words of its own. `grain`: tokens that one of its tokens stands for."""
    turns: list[dict[str, Any]] = []
    if ask.head:
        turns.append({"role": "system", "content": _words(ask.head, grain * ask.head_tokens)})
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": f"https://pictures.test/{picture.key}"}}
        for picture in ask.pictures
    ]
    own = len(ask.text) - ask.head_tokens
    parts.append({"type": "text", "text": _words(ask.id, grain * own)})
    turns.append({"role": "user", "content": parts})
    return msgspec.json.encode({"model": "demo", "messages": turns, "stream": True})


def likes_of(ask: Ask, grain: int = 1) -> LikeKeys:
    return keys_of({}, body_of(ask, grain), SALT)


def _words(word: str, tokens: int) -> str:
    size = CHARACTERS * tokens
    return (f"{word} " * (size // (len(word) + 1) + 1))[: max(size, len(word))]
