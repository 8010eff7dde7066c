"""What is known of a batch, and how its owner sees it. Pure."""

from typing import Any, Literal

import msgspec

from ..stored.store import Entry

Status = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelled"
]
UNDER_WAY: tuple[Status, ...] = ("validating", "in_progress", "finalizing")
ENDED = ("failed", "completed", "expired", "cancelled")


class BatchError(msgspec.Struct, frozen=True):
    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Counts(msgspec.Struct):
    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchNote(msgspec.Struct, kw_only=True):
    """Written by whoever runs the batch, and by nobody else while it runs."""

    endpoint: str
    input_file_id: str
    window: str
    window_seconds: int
    model: str
    """The served name of the engine that it was given to: others leave it alone."""
    metadata: dict[str, str] | None = None
    output_seconds: float | None = None
    """How long what comes out is kept."""
    status: Status = "validating"
    times: dict[str, float] = {}
    """When it got into a status."""
    counts: Counts = msgspec.field(default_factory=Counts)
    errors: list[BatchError] = []
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED


def note_of(entry: Entry) -> BatchNote:
    return msgspec.json.decode(entry.note, type=BatchNote)


def batch_object(entry: Entry, note: BatchNote, cancelled: float | None = None) -> dict[str, Any]:
    """`cancelled`: when its owner has asked for its end."""
    status = note.status if cancelled is None or note.ended else "cancelling"

    def at(name: str) -> int | None:
        return int(note.times[name]) if name in note.times else None

    return {
        "id": entry.id,
        "object": "batch",
        "endpoint": note.endpoint,
        "model": note.model,
        "errors": {"object": "list", "data": msgspec.to_builtins(note.errors)}
        if note.errors
        else None,
        "input_file_id": note.input_file_id,
        "completion_window": note.window,
        "status": status,
        "output_file_id": note.output_file_id,
        "error_file_id": note.error_file_id,
        "created_at": int(entry.created),
        "in_progress_at": at("in_progress"),
        "expires_at": int(entry.created + note.window_seconds),
        "finalizing_at": at("finalizing"),
        "completed_at": at("completed"),
        "failed_at": at("failed"),
        "expired_at": at("expired"),
        "cancelling_at": None if cancelled is None else int(cancelled),
        "cancelled_at": at("cancelled"),
        "request_counts": msgspec.to_builtins(note.counts),
        "metadata": note.metadata,
    }
