"""Ids of the items of a response, by which later calls name them, and its input as it is listed.
Pure."""

import re
from typing import Any, Literal, NamedTuple

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


def listed(items: list[Any], response: str) -> list[dict[str, Any]]:
    """With what callers may leave out."""
    told = []
    for number, item in enumerate(items):
        kind = item.get("type") or ("message" if "role" in item else "item_reference")
        own = {"type": kind, "id": id_of(kind, response, "i", number), "status": "completed"}
        told.append({**own, **{k: v for k, v in item.items() if v is not None}, **_content(item)})
    return told


def _content(item: dict[str, Any]) -> dict[str, Any]:
    text = item.get("content")
    if not isinstance(text, str):
        return {}
    part: dict[str, Any] = {"type": TEXT_OF.get(item.get("role", ""), "input_text"), "text": text}
    if part["type"] == "output_text":
        part["annotations"] = []
    return {"content": [part]}
