"""What a file seems to be, by its first bytes: a guess, which the decoder that reads it does not
rely on. Pure."""

from ....protocol.requests.request import Modality

HEAD = 64
"""Bytes that are looked at."""
_STARTS: tuple[tuple[bytes, Modality], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image"), (b"\xff\xd8\xff", "image"), (b"GIF8", "image"),
    (b"BM", "image"), (b"II*\0", "image"), (b"MM\0*", "image"), (b"\xff\x0a", "image"),
    (b"\0\0\0\x0cJXL ", "image"),
    (b"fLaC", "audio"), (b"OggS", "audio"), (b"ID3", "audio"), (b"\xff\xfb", "audio"),
    (b"\xff\xf3", "audio"), (b"\xff\xf1", "audio"),
    (b"\x1aE\xdf\xa3", "video"), (b"FLV", "video"), (b"\0\0\x01\xba", "video"),
)  # fmt: skip
_RIFF: dict[bytes, Modality] = {b"WEBP": "image", b"WAVE": "audio", b"AVI ": "video"}
_BRANDS: dict[bytes, Modality] = {
    b"avif": "image", b"avis": "image", b"heic": "image", b"heix": "image", b"mif1": "image",
    b"msf1": "image", b"M4A ": "audio", b"M4B ": "audio",
}  # fmt: skip


def modality_of(head: bytes) -> Modality | None:
    """None: it is no picture, clip or sound that is known here."""
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video")
    return next((modality for start, modality in _STARTS if head.startswith(start)), None)
