"""Ids of the items of a response, by which later calls name them, and its input as it is listed.
Pure."""

import re
from typing import Any, Literal, NamedTuple

import msgspec

TEXT_OF = {"assistant": "output_text"}
"""What a text is that stands for content, by role; else it is `input_text`."""
PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco",
    "reasoning": "rs"}  # fmt: skip
_ID = re.compile(r"[a-z]{2,4}_([0-9a-f]{38})([io])([0-9]{1,6})")


class Place(NamedTuple):
    """Where an item is found."""

    response: str
    side: Literal["i", "o"]
    """Of its input, or of its output."""
    number: int


def place_of(id: str) -> Place | None:
    """None: no response of this server has it."""
    found = _ID.fullmatch(id)
    if found is None:
        return None
    return Place(f"resp_{found[1]}", "i" if found[2] == "i" else "o", int(found[3]))


def id_of(kind: str, response: str, side: Literal["i", "o"], number: int) -> str:
    token = response.rpartition("_")[2]
    return f"{PREFIXES.get(kind, 'item')}_{token}{side}{number}"


class ListedItem(msgspec.Struct):
    """As much of an item as its place in a list takes."""

    type: str | None = None
    role: str | None = None
    id: msgspec.Raw = msgspec.Raw(b"null")
    content: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def kind(self) -> str:
        return self.type or ("item_reference" if self.role is None else "message")


def ids_of(items: list[ListedItem], response: str) -> list[str]:
    """Their own, where they have one."""
    return [
        msgspec.json.decode(one.id, type=str)
        if _is_text(one.id)
        else id_of(one.kind, response, "i", number)
        for number, one in enumerate(items)
    ]


def listed(item: msgspec.Raw, id: str) -> dict[str, Any]:
    """With what callers may leave out. What is in it is not read: it may be much."""
    known = msgspec.json.decode(item, type=ListedItem)
    given = msgspec.json.decode(item, type=dict[str, msgspec.Raw])
    own = {"type": known.kind, "status": "completed"}
    said = {name: value for name, value in given.items() if bytes(memoryview(value)[:5]) != b"null"}
    return {**own, **said, "id": id, **_content(known)}


def _content(item: ListedItem) -> dict[str, Any]:
    if not _is_text(item.content):
        return {}
    kind = TEXT_OF.get(item.role or "", "input_text")
    part: dict[str, Any] = {"type": kind, "text": item.content}
    if kind == "output_text":
        part["annotations"] = []
    return {"content": [part]}


def _is_text(value: msgspec.Raw) -> bool:
    return bytes(memoryview(value)[:1]) == b'"'
