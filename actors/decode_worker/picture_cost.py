"""What a picture would cost to decode, told from its structure: what is out of all proportion is
refused before it starts."""

import re

from ...protocol.config.roles import MediaLimits
from ...protocol.errors import too_large

MOST_SCANS = 30
"""Of a JPEG of the most pixels that are taken; of a smaller one as many more. Encoders write about
ten."""
MOST_SEGMENTS = 1 << 14
"""Of a JPEG. A colour profile may fill 255 of them."""
MOST_STRIPS = 1 << 18
"""Strips or tiles of a TIFF; one row each and three planes of a scan of 80,000 rows are less."""

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""One that ends a scan: neither a byte that is escaped nor a restart."""
_STRIP_TAGS = (273, 324)


def check_cost(form: str | None, data: bytes, pixels: int, limits: MediaLimits) -> None:
    """Raises RequestError."""
    if form in ("JPEG", "MPO"):
        scans = jpeg_scans(data)
        if scans * pixels > MOST_SCANS * limits.pixels:
            raise too_large(
                f"The picture has {scans} scans of {pixels} pixels, more work than a picture may "
                f"make; save it with fewer.",
                code="media_cost",
            )
    elif form == "TIFF" and (strips := tiff_strips(data)) > MOST_STRIPS:
        text = f"The picture is in {strips} strips; at most {MOST_STRIPS} are taken."
        raise too_large(text, code="media_cost")


def jpeg_scans(data: bytes) -> int:
    """Passes over the picture up to its end. Raises RequestError where it is in too many pieces."""
    scans, at = 0, 2
    for _ in range(MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or found[1] == b"\xd9":
            return scans
        scans += found[1] == b"\xda"
        at = found.end()
        if found[1] != b"\x01":  # the one other that has no length
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
    raise too_large(f"The picture is in more than {MOST_SEGMENTS} pieces.", code="media_cost")


def tiff_strips(data: bytes) -> int:
    """How many strips or tiles the first picture says that it has."""
    order, big = ("little" if data[:2] == b"II" else "big"), data[2:4] in (b"+\0", b"\0+")
    first, entries, step, width = (8, 8, 20, 8) if big else (4, 2, 12, 4)

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)  # type: ignore[arg-type]

    table = number(first, width)
    strips = 0
    for index in range(min(number(table, entries), 4096)):
        at = table + entries + index * step
        if number(at, 2) in _STRIP_TAGS:
            strips = max(strips, number(at + 4, width))
    return strips
