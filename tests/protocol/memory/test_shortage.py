"""What is short is read from the exception that tells of it, or from what led to that."""

import errno

import pytest

from thespis.protocol.memory.shortage import NO_FILES, NO_MEMORY, NO_SPACE, SpaceError, shortage


def caused(outer: Exception, inner: Exception) -> Exception:
    try:
        try:
            raise inner
        except Exception:
            raise outer from None
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (OSError(errno.EMFILE, "x"), NO_FILES),
        (OSError(errno.ENFILE, "x"), NO_FILES),
        (OSError(errno.ENOSPC, "x"), NO_SPACE),
        (OSError(errno.EFBIG, "x"), NO_SPACE),
        (SpaceError("x"), NO_SPACE),
        (caused(SpaceError("x"), OSError(errno.EMFILE, "x")), NO_FILES),
        (caused(ValueError("x"), OSError(errno.EMFILE, "x")), NO_FILES),
        (MemoryError(), NO_MEMORY),
        (OSError(errno.ENOMEM, "x"), NO_MEMORY),
        (
            RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
            ),
            NO_MEMORY,
        ),
        (OSError(errno.ECONNREFUSED, "x"), None),
        (ValueError("x"), None),
    ],
)
def test_what_is_short(error: Exception, found: object) -> None:
    assert shortage(error) == found
