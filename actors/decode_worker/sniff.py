"""What a file of sound or moving pictures is, by its content: the name of the one demuxer that may
read it."""

import re
from itertools import pairwise

_BOTH = frozenset({"mp4", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "ogg"})
VIDEO_FORMATS = _BOTH | {"gif", "mpegvideo"}
AUDIO_FORMATS = (
    _BOTH | {"wav", "w64", "flac", "mp3", "aac", "ac3", "eac3"} | {"aiff", "au", "caf", "amr"}
)
JUNK = 1 << 16
"""Bytes before the first frame of an mp3 that are passed over; zeros may be more."""
_RIFF64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_MAGIC = (
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"GIF8", "gif"),
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b".snd", "au"),
    (b"caff", "caf"),
    (b"#!AMR", "amr"),
    (b"FLV\1", "flv"),
    (b"\0\0\1\xba", "mpeg"),
    (b"\0\0\1\xb3", "mpegvideo"),
    (_RIFF64, "w64"),
    (bytes.fromhex("3026b2758e66cf11"), "asf"),
)
_PACKETS = ((188, 0), (192, 4), (204, 0))
"""Of an MPEG transport stream: bytes from one packet to the next, and before its sync byte."""
_SYNC = re.compile(rb"\xff[\xe2-\xff]")
_BITRATES = (
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
"""Of layer III in kbit/s: MPEG-1, and MPEG-2 or 2.5."""
_OGG_PAGE = re.compile(rb"OggS\0([\0-\7])", re.DOTALL)
_RATES = (44100, 48000, 32000)


def sniff(data: bytes) -> str | None:
    """The demuxer for these bytes, by their beginning: mov and m4a are `mp4`, webm is
    `matroska`."""
    if data[4:8] in _BOXES:
        return "mp4"
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if data[:4] in (b"RIFF", b"RF64", b"BW64"):
        return {b"AVI ": "avi", b"WAVE": "wav"}.get(data[8:12])
    if (name := next((name for magic, name in _MAGIC if data.startswith(magic)), None)) is not None:
        return name
    if data.startswith(b"ID3"):
        return _tagged(data)
    if data[:2] == b"\x0bw" and len(data) > 5:
        return "eac3" if data[5] >> 3 > 10 else "ac3"
    if any(data[skip : skip + 4 * step : step] == b"GGGG" for step, skip in _PACKETS):
        return "mpegts"
    if len(data) > 2 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:
        return "aac"
    if len(data) > 2 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        return "mp3"
    return None


def behind_junk(data: bytes) -> int:
    """Where a sound begins that begins with zeros, a foreign tag or the rest of a frame; 0 where
    there is none."""
    first = len(data) - len(data.lstrip(b"\0"))
    if first and sniff(data[first : first + 1024]) is not None:
        return first
    for found in _SYNC.finditer(data, 0, JUNK):
        at = found.start()
        following = at
        for _ in range(3):
            following += _frame_bytes(data[following : following + 4]) or len(data)
        if following < len(data):
            return at
    return 0


def _tagged(data: bytes) -> str:
    """Behind an ID3 tag stands an mp3, or what else carries one."""
    size = 0
    for byte in data[6:10].ljust(4, b"\0"):
        size = size << 7 | byte & 0x7F
    rest = data[10 + size : 10 + size + 16]
    name = None if rest.startswith(b"ID3") else sniff(rest)
    return name if name in ("flac", "aac", "ac3", "eac3") else "mp3"


def _frame_bytes(head: bytes) -> int:
    """Length of the layer III frame with this header; 0 where it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, bitrate, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return 0
    first = version == 3
    hertz = _RATES[rate] >> (0 if first else 1 if version == 2 else 2)
    samples, padding = 144 if first else 72, head[2] >> 1 & 1
    return samples * _BITRATES[not first][bitrate - 1] * 1000 // hertz + padding


def is_chained(data: bytes) -> bool:
    """Whether an Ogg file has streams one after the other: a page that begins one behind a page
    that goes on (RFC 3533, 4)."""
    if not data.startswith(b"OggS"):
        return False
    begins = [bool(page[1][0] & 2) for page in _OGG_PAGE.finditer(data)]
    return any(late and not early for early, late in pairwise(begins))
