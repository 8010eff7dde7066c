"""Failures in Ollama's form. Pure."""

from typing import Any

import msgspec

from ....protocol.errors import Failure


def ollama_form(failure: Failure, status: int, id: str) -> tuple[int, dict[str, Any]]:
    """The status and the body of a refusal."""
    return status, {"error": failure.sentence}


def ollama_line(failure: Failure) -> bytes:
    """In a stream that has begun."""
    return msgspec.json.encode({"error": failure.sentence}) + b"\n"
