"""Long sounds in pieces: what is asked of the cutting, and what a piece is. Pure."""

import msgspec

from ..errors import RequestError, too_large

MOST_PIECES = 4096
"""Of one sound."""


class CutPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where in a sound a piece begins, and the cutting goes on: see `Stretch`, whose fields these
    are."""

    start: int
    packet: int
    pts: int
    first: int


class CutOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a sound is to be cut, at quiet places."""

    seconds: float
    """No piece is longer."""
    rows: int
    """Nor has a larger embedding, where the model's processor says how large it will be."""
    place: CutPlace | None = None
    """Where to begin; None: with the sound."""


class Stretch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of an encoded sound."""

    start: int
    end: int
    """In samples at the sound's own rate, from its first on; `end` is not in it."""
    packet: int = 0
    """Packets before this need not be decoded for it."""
    pts: int | None = None
    """The time, in the stream's own unit, of the decoded frame that holds its beginning; None: only
    counting from the first sample finds it."""
    first: int = 0
    """Which sample that frame begins with."""


def too_many_pieces(part: str | None = None) -> RequestError:
    return too_large(f"The sound falls into more than {MOST_PIECES} pieces.", part)
