"""What is served, in Anthropic's form. Pure."""

from datetime import UTC, datetime
from typing import Any


def anthropic_card(model: str, context: int, started: int) -> dict[str, Any]:
    """`started`: Unix seconds."""
    return {
        "type": "model",
        "id": model,
        "display_name": model,
        "created_at": datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
        "max_input_tokens": context,
        "max_tokens": context,
    }


def anthropic_list(card: dict[str, Any]) -> dict[str, Any]:
    """One page, of the one model."""
    return {"data": [card], "has_more": False, "first_id": card["id"], "last_id": card["id"]}
