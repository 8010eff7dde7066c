"""Texts and other inputs that are compared: what callers give as one, and which are pairs. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from ...protocol.errors import STATUS, RequestError, invalid
from ...protocol.requests.request import ChatMessage, Slot, Text
from ..validation import expect_text
from .media import LONGEST_SCHEME, Pending, read_base64, read_url
from .parts import BARE_KEYS, Rules, read_part
from .unread import Unread

IMAGE = "image"
MEDIA_KEYS = (IMAGE, *BARE_KEYS)
KNOWN = ("text", *MEDIA_KEYS)


def read_document(
    given: Any, where: str, media: list[Pending], rules: Rules, unread: Unread
) -> str | ChatMessage:
    """A text, or an object: `text` and media by the names of their parts, one such part, or
    `content` with a text or several parts. Media are appended to `media`. Raises RequestError that
    names the place."""
    if isinstance(given, str):
        return given
    if not isinstance(given, Mapping):
        raise invalid("It is a text, or an object with a text or media.", where, "wrong_type")
    content = given.get("content")
    if content is not None:
        unread.check(given, ("content",), where)
        return _of_content(content, f"{where}.content", media, rules, unread)
    if given.get("type") is not None:
        return _message([read_part(given, where, media, rules, unread)])
    unread.check(given, KNOWN, where)
    found: list[Text | Slot] = [
        _medium(name, given[name], where, media, rules, unread)
        for name in MEDIA_KEYS
        if given.get(name) is not None
    ]
    text = given.get("text")
    if text is None and not found:
        raise invalid("It has neither a text nor media.", where, "missing_field")
    if text is not None:
        found.append(Text(expect_text(text, f"{where}.text")))
    return _message(found)


def _of_content(
    content: Any, where: str, media: list[Pending], rules: Rules, unread: Unread
) -> str | ChatMessage:
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence) or not content:
        raise invalid("Expected a text, or an array of parts.", where, "wrong_type")
    return _message(
        [
            read_part(part, f"{where}[{index}]", media, rules, unread)
            for index, part in enumerate(content)
        ]
    )


def _message(content: Sequence[Text | Slot]) -> str | ChatMessage:
    """One text alone is as if it stood for itself."""
    match content:
        case [Text(text)]:
            return text
    return ChatMessage("user", tuple(content))


def _medium(
    name: str, value: Any, where: str, media: list[Pending], rules: Rules, unread: Unread
) -> Text | Slot:
    if name != IMAGE or (rules.raw is not None and not isinstance(value, str)):
        return read_part({"type": name, name: value}, where, media, rules, unread)
    place = f"{where}.{name}"
    text = expect_text(value, place)
    colon = text.find(":", 0, LONGEST_SCHEME)
    content = read_url(text, "image", place) if colon >= 0 else read_base64(text, place)
    media.append(Pending("image", content, place))
    return Slot(len(media) - 1)


@contextmanager
def naming(where: str) -> Iterator[None]:
    """What is refused in here for what a caller sent, and names no part, is what the caller calls
    `where`. Raises RequestError."""
    try:
        yield
    except RequestError as error:
        failure = error.failure
        if not where or failure.part is not None or STATUS[failure.kind] >= 429:
            raise
        raise RequestError(msgspec.structs.replace(failure, part=where)) from None


def pair_up(first: int, second: int, name: str = "") -> list[tuple[int, int]]:
    """Which of so many stand beside each other: one beside each, or each beside its own. `name`: of
    the second. Raises RequestError."""
    if first == 1:
        return [(0, other) for other in range(second)]
    if first != second:
        text = (
            f"One is compared with each of several, or as many with as many; here {first} would be "
            f"compared with {second}."
        )
        raise invalid(text, name or None, "contradicting_fields")
    return [(each, each) for each in range(first)]
