"""Sounds by their headers and packets: how many samples they have. None is decoded."""

import struct
from typing import Any

import numpy as np

from ...protocol.config.roles import MediaLimits
from ...protocol.errors import RequestError, undecodable
from .animation import is_animation
from .audio import (
    NO_SOUND,
    NOT_DECODABLE,
    NOTHING,
    Wave,
    check_length,
    resampled_length,
)
from .clip_headers import cost_unknown
from .container import open_container, seconds_of
from .sniff import AUDIO_FORMATS, VIDEO_FORMATS, behind_junk, is_chained, sniff

_FRAMED = {"aac": 1024, "ac3": 1536}
"""Samples of a packet where the header does not say it."""
_OPUS_MS = ((10, 20, 40, 60), (10, 20), (2.5, 5, 10, 20))
"""Milliseconds of an Opus frame: SILK, hybrid, CELT (RFC 6716, 3.1)."""
_MOST_SAMPLES = 1 << 30
"""Of one packet: FFmpeg tells more where it has counted below zero."""
UNSURE = "its packets do not say exactly how many samples they hold"


def look_audio(data: bytes, rate: int, limits: MediaLimits, of_clip: bool = False) -> Wave:
    """Silence of the length that `decode_audio` gives, which takes no memory. Raises RequestError
    as that does, and where the headers do not tell it."""
    if of_clip and is_animation(data):
        return NOTHING
    try:
        count, own_rate = _count(data, limits, of_clip)
    except RequestError as refused:
        code, kind = refused.failure.code, refused.failure.kind
        if of_clip or kind != "unprocessable_media" or code is not None or is_chained(data):
            raise
        raise cost_unknown("sound", "its container is not FFmpeg's, or damaged") from refused
    return np.broadcast_to(np.zeros((), np.float32), (resampled_length(count, own_rate, rate),))


def _count(data: bytes, limits: MediaLimits, of_clip: bool) -> tuple[int, int]:
    """Samples of one channel, and their rate. Without sound: none of a clip, else RequestError."""
    if sniff(data) is None:
        data = data[behind_junk(data) :]
    allowed = AUDIO_FORMATS | VIDEO_FORMATS if of_clip else AUDIO_FORMATS
    with open_container(data, allowed, NOT_DECODABLE) as container:
        if not container.streams.audio:
            if of_clip:
                return 0, 1
            raise undecodable(NO_SOUND)
        stream = container.streams.audio[0]
        rate = int(stream.rate or 0) if stream.codec_context is not None else 0
        if rate < 1:
            raise undecodable(NOT_DECODABLE)
        seconds = seconds_of(container, stream)
        if seconds is not None:
            check_length(seconds, seconds * rate, limits, stream.channels)
        counting = _Counting(stream, rate)
        for packet in container.demux(stream):
            if packet.size:
                counting.add(packet)
                count = counting.count
                check_length(count / rate, count, limits, stream.channels)
        count = counting.total()
    if not count and not of_clip:
        raise undecodable(NO_SOUND)
    return count, rate


class _Counting:
    """Samples of the packets of one stream, as its decoder will give them."""

    def __init__(self, stream: Any, rate: int) -> None:
        codec = stream.codec_context
        self._stream, self._rate = stream, rate
        self._name = codec.codec.canonical_name
        self._fixed = codec.frame_size or _FRAMED.get(self._name, 0)
        self._exact = stream.time_base is not None and stream.time_base * rate == 1
        self._known = self._name in ("mp3", "mp2", "ac3", "flac", "alac", "vorbis", "opus") or (
            self._name.startswith("pcm_") or (self._name == "aac" and codec.profile == "LC")
        )
        self._preskip = struct.unpack_from("<H", (codec.extradata or b"").ljust(12, b"\0"), 10)[0]
        self._packets = 0
        self._prepares = 0
        """Samples that the first packet says it has, and does not give."""
        self.count = 0

    def add(self, packet: Any) -> None:
        samples = self._samples(packet)
        start, end = _skipped(packet)
        if self._name == "opus" and not self._packets and not start:
            start = self._preskip
        if self._name == "alac" and end:
            self._known = False  # FFmpeg has cut it already, or not
        if packet.is_discard:
            samples, start, end = 0, 0, 0
        if self._name == "vorbis":  # cut already; what stands before zero only prepares the rest
            heard = packet.pts is not None and packet.pts >= 0
            samples, start, end = samples if heard else 0, 0, 0
            if not self._packets:  # the first only prepares the rest, wherever it stands
                self._prepares, samples = samples, 0
        self._packets += 1
        self.count += max(0, samples) - start - end

    def _samples(self, packet: Any) -> int:
        if self._name == "opus":
            return round(_opus_seconds(bytes(packet)) * self._rate)
        if self._name in ("aac", "mp3", "mp2", "ac3"):
            return int(self._fixed)
        samples = int(packet.duration or 0)
        if not self._exact or not 0 <= samples <= _MOST_SAMPLES:
            self._known = False
            return 0
        return samples

    def total(self) -> int:
        """Raises RequestError where it is not certain."""
        count = self.count
        if self._name == "vorbis" and count + self._prepares != self._stream.duration:
            self._known = False
        if not self._known or count < 0:
            raise cost_unknown("sound", UNSURE)
        return count


def _skipped(packet: Any) -> tuple[int, int]:
    """Samples at its beginning and end that are not heard."""
    if not packet.has_sidedata("skip_samples"):
        return 0, 0
    start, end = struct.unpack_from("<II", bytes(packet.get_sidedata("skip_samples")))
    return int(start), int(end)


def _opus_seconds(packet: bytes) -> float:
    """By its first two bytes (RFC 6716, 3.1 and 3.2)."""
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        length: float = _OPUS_MS[0][config % 4]
    elif config < 16:
        length = _OPUS_MS[1][config % 2]
    else:
        length = _OPUS_MS[2][config % 4]
    frames = (1, 2, 2, packet[1] & 63 if len(packet) > 1 else 0)[code]
    return length * frames / 1000
