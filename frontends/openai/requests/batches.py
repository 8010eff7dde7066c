"""What a call for a batch asks for. Pure; every refusal names the field."""

import msgspec

from ....protocol.errors import invalid
from .common import check_metadata
from .schema import Body

LAST = (1 << 31) - 1
"""The priority of what nobody waits for."""
LONGEST = 128
"""Characters of a path or an id."""


class ExpiresAfter(msgspec.Struct, kw_only=True):
    anchor: str
    seconds: int


class BatchRequest(Body, kw_only=True):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None
    output_expires_after: ExpiresAfter | None = None


def parse_batch(request: BatchRequest) -> BatchRequest:
    """Raises RequestError."""
    for name in ("input_file_id", "endpoint", "completion_window"):
        if len(getattr(request, name)) > LONGEST:
            raise invalid(f"It has at most {LONGEST} characters.", name, "out_of_range")
    check_metadata(request.metadata)
    return request
