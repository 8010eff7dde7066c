"""An uploaded file, as its owner and OpenAI's clients know it. Pure."""

import re
from typing import Any

import msgspec

from ....protocol.errors import invalid
from .store import Entry

UPLOADED = ("user_data", "vision", "batch", "assistants")
"""What a caller may say that a file is for; they are used alike, but for `batch`."""
BATCH_OUTPUT = "batch_output"
DAY = 86_400.0
BATCH_SECONDS = 30 * DAY
"""How long files of batches are kept where nobody says it."""
MIN_SECONDS, MAX_SECONDS = 60, 30 * 86_400
MAX_NAME = 255
"""Characters."""
NAMELESS = "file"
_DIGITS = re.compile(r"[0-9]{1,9}")


class FileNote(msgspec.Struct, frozen=True):
    filename: str
    purpose: str
    pinned: bool = False
    """What was made of it stays on disk."""


def note_of(entry: Entry) -> FileNote:
    return msgspec.json.decode(entry.note, type=FileNote)


def file_object(entry: Entry) -> dict[str, Any]:
    note = note_of(entry)
    return {
        "id": entry.id,
        "object": "file",
        "bytes": entry.size,
        "created_at": int(entry.created),
        "expires_at": None if entry.expires is None else int(entry.expires),
        "filename": note.filename,
        "purpose": note.purpose,
        "status": "processed",
        "status_details": None,
        "pinned": note.pinned,
    }


def plain_name(claimed: str) -> str:
    """What a caller calls its file, as far as it is a name: the last step of a path, without what
    cannot be seen or turns the text around. It is only ever said back."""
    last = claimed.replace("\\", "/").rstrip("/").rpartition("/")[2]
    name = "".join(filter(str.isprintable, last)).strip()[:MAX_NAME].strip()
    return NAMELESS if name in ("", ".", "..") else name


def check_purpose(purpose: str | None) -> str:
    if purpose is None:
        raise invalid("This field is required.", "purpose", "missing_field")
    if purpose not in UPLOADED:
        text = f"Files are taken for these purposes: {', '.join(UPLOADED)}."
        raise invalid(text, "purpose", "invalid_purpose")
    return purpose


def seconds_until_over(
    anchor: str | None, seconds: str | int | None, purpose: str, name: str = "expires_after"
) -> float | None:
    """None: it is kept until somebody deletes it. Raises RequestError."""
    if anchor is None and seconds is None:
        return BATCH_SECONDS if purpose in ("batch", BATCH_OUTPUT) else None
    if anchor != "created_at":
        text = "The only anchor is `created_at`."
        raise invalid(text, f"{name}[anchor]", "invalid_anchor")
    told = str(seconds)
    if not (_DIGITS.fullmatch(told) and MIN_SECONDS <= int(told) <= MAX_SECONDS):
        text = f"Expected whole seconds from {MIN_SECONDS} to {MAX_SECONDS}."
        raise invalid(text, f"{name}[seconds]", "out_of_range")
    return float(told)
