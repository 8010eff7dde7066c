"""Sounds that FFmpeg cannot read, by librosa. It is given an open libsndfile file, so that it starts no program for one."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from ....protocol.errors import RequestError, refuse
from ....protocol.roles import MediaLimits

BLOCK = 1 << 16
"""Samples read at once."""


def read_sound(data: bytes, limits: MediaLimits) -> tuple[NDArray[np.float32], int] | None:
    """float32 [n] of one channel and its rate; None where it cannot be read either. Raises RequestError for what is too
    long, which is found before more than the limit is kept.

    librosa is imported once libsndfile knows the file: it takes seconds of CPU time, and at its very first import compiles
    parts of itself.
    """
    import soundfile

    pieces: list[NDArray[np.float32]] = []
    count = 0
    try:
        with _quiet(), np.errstate(all="ignore"), soundfile.SoundFile(_File(data)) as file:
            from librosa import stream

            rate = int(file.samplerate)
            for block in stream(file, block_length=1, frame_length=BLOCK, hop_length=BLOCK, dtype=np.float32):
                count += len(block)
                if count > rate * limits.audio_seconds or count * 4 > limits.audio_bytes:
                    text = (
                        f"The sound is longer than the {limits.audio_seconds:g} s or {limits.audio_bytes} bytes that are taken."
                    )
                    raise refuse("too_large", text)
                pieces.append(block)
    except RequestError:
        raise
    except (soundfile.SoundFileError, ValueError):
        return None
    if not count:
        return None
    return np.concatenate(pieces), rate


class _File(io.BytesIO):
    """For a reader that looks for places before the beginning, in a callback that must not raise."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return super().seek(max(0, offset) if whence == os.SEEK_SET else max(offset, -self._from(whence)), whence)

    def _from(self, whence: int) -> int:
        return self.tell() if whence == os.SEEK_CUR else len(self.getbuffer())


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
