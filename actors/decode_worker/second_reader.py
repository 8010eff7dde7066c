"""Sounds that FFmpeg cannot read, by libsndfile: as librosa reads them, number for number, which
starts no program then."""

import io
import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

import numpy as np
from numpy.typing import NDArray

from ...protocol.config.roles import MediaLimits
from ...protocol.errors import too_large

BLOCK = 1 << 16
"""Samples read at once."""


class UnreadableError(Exception):
    """libsndfile takes it for no sound."""


def read_sound(data: bytes, limits: MediaLimits) -> tuple[NDArray[np.float32], int] | None:
    """float32 [n] of one channel and its rate; None where it cannot be read either. Raises
    RequestError for what is too long, which is found before more than the limit is kept.

    librosa itself is left out: its import takes two seconds of CPU time and 180 MB, and eight
    seconds where it is new and compiles parts of itself. A worker that gives way to streams has a
    tenth of a processor for that.
    """
    pieces: list[NDArray[np.float32]] = []
    count, rate = 0, 1
    try:
        with closing(read_blocks(data)) as blocks:
            for rate, mono in blocks:
                count += len(mono)
                if count > rate * limits.audio_seconds or count * 4 > limits.audio_bytes:
                    raise too_large(
                        f"The sound is longer than the {limits.audio_seconds:g} s or "
                        f"{limits.audio_bytes} bytes that are taken."
                    )
                pieces.append(mono)
    except UnreadableError:
        return None
    return (np.concatenate(pieces), rate) if count else None


def read_blocks(data: bytes) -> Generator[tuple[int, NDArray[np.float32]]]:
    """The rate, and float32 [n] of one channel, again and again; close it when it is left early.
    Raises UnreadableError."""
    import soundfile

    try:
        with _quiet(), np.errstate(all="ignore"), soundfile.SoundFile(_File(data)) as file:
            rate = int(file.samplerate)
            for block in file.blocks(BLOCK, dtype="float32", always_2d=True):
                yield rate, block.mean(axis=1)
    except (soundfile.SoundFileError, ValueError):
        raise UnreadableError from None


class _File(io.BytesIO):
    """For a reader that looks for places before the beginning, in a callback that must not
    raise."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        begin = (0, self.tell(), self.getbuffer().nbytes)[whence]
        return super().seek(max(0, begin + offset))


@contextmanager
def _quiet() -> Iterator[None]:
    """What libmpg123 prints about damaged files belongs to a request, not to the log."""
    errors = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(errors, 2)
        os.close(nowhere)
        os.close(errors)
