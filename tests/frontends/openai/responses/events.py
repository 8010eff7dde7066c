"""What OpenAI's own types say of the events of a response."""

import json
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def read_events(raw: bytes) -> list[Any]:
    """Each of them is of its type, and they are numbered from 0 on."""
    told = []
    for block in raw.decode().strip().split("\n\n"):
        kind, data = block.split("\n")
        body = json.loads(data.removeprefix("data: "))
        assert kind == f"event: {body['type']}"
        told.append(EVENT.validate_python(body))
    assert [event.sequence_number for event in told] == list(range(len(told)))
    return told


def read_response(body: Any) -> Any:
    """It is of its type."""
    return Response.model_validate(body)


def kinds(events: list[Any]) -> list[str]:
    """Without the repetitions of deltas, and what all names begin with."""
    names = [event.type.removeprefix("response.") for event in events]
    return [
        name
        for n, name in enumerate(names)
        if not (name.endswith(".delta") and n and names[n - 1] == name)
    ]


def rebuilt(events: list[Any]) -> list[dict[str, Any]]:
    """The items, from their deltas alone."""
    items: list[dict[str, Any]] = []
    for event in events:
        match event.type:
            case "response.output_item.added":
                assert event.output_index == len(items)
                items.append({"type": event.item.type, "id": event.item.id, "text": ""})
            case str(kind) if kind.endswith(".delta"):
                assert items[event.output_index]["id"] == event.item_id
                items[event.output_index]["text"] += event.delta
            case "response.output_item.done":
                assert items[event.output_index]["id"] == event.item.id
    return items
