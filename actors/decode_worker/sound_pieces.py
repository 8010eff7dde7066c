"""Long sounds: cut in one pass that keeps no samples, and decoded a piece at a time."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain
from typing import NamedTuple

import numpy as np

from ...protocol.config.roles import MediaLimits
from ...protocol.errors import RequestError, too_large, undecodable
from ...protocol.requests.sound import MOST_PIECES, CutPlace, Stretch, too_many_pieces
from .audio import (
    CHAINED,
    NO_SOUND,
    NOT_DECODABLE,
    Mixer,
    Wave,
    check_length,
    frames_of,
    resample,
)
from .container import open_container, seconds_of
from .quiet_places import Cutter
from .second_reader import UnreadableError, read_blocks
from .sniff import AUDIO_FORMATS, behind_junk, is_chained, sniff

WINDOWS_A_SECOND = 20
WARM_SECONDS = 0.5
"""What is decoded before a piece, since the state of a decoder reaches back."""
TAIL_SECONDS = 1.0
"""The last piece is not shorter: of less, some models make nothing."""
TURN_SECONDS = 300.0
"""Of a sound that are cut in one job, where it can be gone on with. Others wait meanwhile: for
2.7 s of CPU time of a stereo MP3 on a busy machine, and 2.5 s to pass over four hours before it."""
HIGHEST_RATE = 768_000
"""A file that claims more makes windows so large that they would keep its samples."""


class Cut(NamedTuple):
    """How a sound falls into pieces."""

    rate: int
    """Samples a second, as its file has them."""
    stretches: tuple[Stretch, ...]
    rest: CutPlace | None = None
    """Where a next turn begins, if there is to be one."""

    @property
    def seconds(self) -> float:
        return self.stretches[-1].end / self.rate


class _Mark(NamedTuple):
    """Where a decoded frame begins."""

    sample: int
    packet: int
    pts: int | None


class _Sound(NamedTuple):
    """What comes of decoding."""

    rate: int
    mark: _Mark | None
    mono: Wave


def cut_sound(
    data: bytes,
    longest: Callable[[int], int],
    limits: MediaLimits,
    place: CutPlace | None = None,
    turn: float = TURN_SECONDS,
) -> Cut:
    """`longest`: samples of a piece, by the sound's own rate. What is decoded from `place` on has
    the same cuts as if all had been; about `turn` seconds of it are cut. Raises RequestError."""
    try:
        return _cut(_by_ffmpeg_from(data, limits, place), longest, limits, turn, place)
    except RequestError as refused:
        if refused.failure.kind != "unprocessable_media":
            raise
        if is_chained(data):
            raise undecodable(CHAINED) from None
        try:
            with closing(_by_sndfile(data)) as sounds:
                behind = _behind(sounds, 0, 0 if place is None else place.start)
                return _cut(behind, longest, limits, turn, place)
        except UnreadableError:
            raise refused from None


def decode_piece(data: bytes, stretch: Stretch, rate: int, limits: MediaLimits) -> Wave:
    """float32 [n] at `rate` samples a second. Raises RequestError."""
    try:
        found = _found(_by_ffmpeg(data, limits, stretch.packet), stretch)
        if found is None:  # what was noted of its place holds no more: count
            found = _found(_by_ffmpeg(data, limits), _counted(stretch))
    except RequestError as refused:
        if refused.failure.kind != "unprocessable_media" or is_chained(data):
            raise
        try:
            with closing(_by_sndfile(data)) as sounds:
                found = _found(sounds, _counted(stretch))
        except UnreadableError:
            raise refused from None
    if found is None or not len(found[1]):
        raise undecodable(NO_SOUND)
    own_rate, mono = found
    if not np.isfinite(mono).all():
        raise undecodable("The sound holds values that are no finite numbers.")
    check_length(len(mono) / own_rate, len(mono), limits)
    return resample(mono, own_rate, rate)


def _counted(stretch: Stretch) -> Stretch:
    return Stretch(stretch.start, stretch.end)


def _by_ffmpeg(data: bytes, limits: MediaLimits, begin: int = 0) -> Generator[_Sound]:
    if sniff(data) is None:
        data = data[behind_junk(data) :]
    with open_container(data, AUDIO_FORMATS, NOT_DECODABLE) as container:
        if not container.streams.audio:
            raise undecodable(NO_SOUND)
        stream = container.streams.audio[0]
        rate = int(stream.rate or 0) if stream.codec_context is not None else 0
        if rate < 1:
            raise undecodable(NOT_DECODABLE)
        if (seconds := seconds_of(container, stream)) is not None:
            _check_seconds(seconds, limits)
        mixer, count = Mixer(rate), 0
        for packet, frame in frames_of(container, stream, begin):
            mark: _Mark | None = _Mark(count, packet, frame.pts)
            for mono in mixer.mix(frame):
                yield _Sound(rate, mark, mono)
                count += len(mono)
                mark = None


def _by_sndfile(data: bytes) -> Generator[_Sound]:
    with closing(read_blocks(data)) as blocks:
        for rate, mono in blocks:
            yield _Sound(rate, None, mono)


def _by_ffmpeg_from(data: bytes, limits: MediaLimits, place: CutPlace | None) -> Iterator[_Sound]:
    """What lies behind a place."""
    if place is None:
        yield from _by_ffmpeg(data, limits)
        return
    sounds = _by_ffmpeg(data, limits, place.packet)
    for one in sounds:
        if one.mark is None or one.mark.pts is None or one.mark.pts < place.pts:
            continue
        if one.mark.pts > place.pts:
            break
        yield from _behind(chain((one,), sounds), place.first, place.start)
        return
    # What was noted of the place holds no more: count.
    yield from _behind(_by_ffmpeg(data, limits), 0, place.start)


def _behind(sounds: Iterable[_Sound], at: int, start: int) -> Iterator[_Sound]:
    """From sample `start` on. The first sound begins with sample `at`, by which marks are told."""
    for rate, mark, mono in sounds:
        lead = max(0, start - at)
        if lead < len(mono):
            moved = None if mark is None else mark._replace(sample=at)
            yield _Sound(rate, moved, mono[lead:])
        at += len(mono)


def _cut(
    sounds: Iterable[_Sound],
    longest: Callable[[int], int],
    limits: MediaLimits,
    turn: float,
    place: CutPlace | None,
) -> Cut:
    cutting: _Cutting | None = None
    for rate, mark, mono in sounds:
        if cutting is None:
            if rate > HIGHEST_RATE:
                raise undecodable(f"A sampling rate of {rate} Hz is not taken.")
            cutting = _Cutting(rate, longest(rate), place)
        cutting.add(mark, mono)
        _check_seconds(cutting.count / rate, limits)
        if cutting.count - cutting.begun >= turn * rate and (rest := cutting.rest) is not None:
            return Cut(rate, cutting.done, rest)
    if cutting is None or not cutting.count:
        raise undecodable(NO_SOUND)
    return Cut(cutting.rate, cutting.end())


class _Cutting:
    """Of one sound, in one pass, from a place on."""

    def __init__(self, rate: int, longest: int, place: CutPlace | None) -> None:
        self._open = Stretch(0, 0)
        if place is not None:
            self._open = Stretch(place.start, 0, place.packet, place.pts, place.first)
        self.rate, self.begun, self.count = rate, self._open.start, self._open.start
        self._window = max(1, rate // WINDOWS_A_SECOND)
        self._cutter = Cutter(longest // self._window, int(TAIL_SECONDS * WINDOWS_A_SECOND))
        self._rest: Wave = np.zeros(0, np.float32)
        """Less than a window."""
        self._marks: deque[_Mark] = deque()
        """From a little before the piece that has not ended."""
        self._done: list[Stretch] = []

    def add(self, mark: _Mark | None, mono: Wave) -> None:
        if mark is not None and (
            not self._marks or mark.sample - self._marks[-1].sample >= self._window
        ):
            self._marks.append(mark)
        self.count += len(mono)
        joined = np.concatenate((self._rest, mono)) if len(self._rest) else mono
        whole = len(joined) // self._window * self._window
        self._rest = joined[whole:]
        if whole:
            with np.errstate(all="ignore"):
                loud = np.square(joined[:whole]).reshape(-1, self._window).sum(axis=1)
            for place in self._cutter.add(loud.tolist()):
                self._cut(self.begun + place * self._window)

    @property
    def done(self) -> tuple[Stretch, ...]:
        return tuple(self._done)

    @property
    def rest(self) -> CutPlace | None:
        """Where the piece begins that has not ended, if it can be found there again."""
        begin = self._open
        if begin.pts is None or begin.start == self.begun:
            return None
        return CutPlace(begin.start, begin.packet, begin.pts, begin.first)

    def end(self) -> tuple[Stretch, ...]:
        for place in self._cutter.end():
            self._cut(self.begun + place * self._window)
        self._close(self.count)
        return self.done

    def _cut(self, sample: int) -> None:
        self._close(sample)
        warm = sample - int(WARM_SECONDS * self.rate)
        while len(self._marks) > 1 and self._marks[1].sample <= warm:
            self._marks.popleft()
        holding = [mark for mark in self._marks if mark.sample <= sample]
        if holding and holding[-1].pts is not None:
            mark = holding[-1]
            self._open = Stretch(sample, 0, holding[0].packet, mark.pts, mark.sample)
        else:
            self._open = Stretch(sample, 0)

    def _close(self, end: int) -> None:
        began = self._open
        self._done.append(Stretch(began.start, end, began.packet, began.pts, began.first))
        if len(self._done) > MOST_PIECES:
            raise too_many_pieces()


def _found(sounds: Iterator[_Sound], stretch: Stretch) -> tuple[int, Wave] | None:
    """The rate and the samples of a piece; None where the frame is not there that was noted."""
    pieces: list[Wave] = []
    at: int | None = 0 if stretch.pts is None else None
    own_rate = 1
    for own_rate, mark, mono in sounds:  # noqa: B007 -- the last is returned
        if at is None:
            if mark is not None and mark.pts is not None and mark.pts > (stretch.pts or 0):
                return None
            if mark is None or mark.pts != stretch.pts:
                continue
            at = stretch.first
        begin, end = max(0, stretch.start - at), stretch.end - at
        if begin < len(mono) and end > 0:
            pieces.append(mono[begin:end])
        at += len(mono)
        if at >= stretch.end:
            break
    if at is None:
        return None
    return own_rate, np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def _check_seconds(seconds: float, limits: MediaLimits) -> None:
    if seconds > limits.cut_seconds:
        raise too_large(
            f"The sound lasts {round(seconds, 1):g} s; at most {limits.cut_seconds:g} s are "
            f"transcribed."
        )
