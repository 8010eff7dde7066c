"""file: URLs, below one folder and nowhere else: opened component by component, following no
link."""

import os
import stat
from io import RawIOBase
from urllib.parse import unquote, urlsplit

from .at_hand import OpenFile
from .policy import FetchError, forbidden, invalid, unavailable

AT_HAND_BYTES = 4 << 20
"""Of a file that is read in the loop: 0.5 ms."""
_NOT_THERE = "There is no regular file at the file: URL's place, or it cannot be read."


def read_local(url: str, folder: str | None, max_bytes: int) -> bytearray:
    """The bytes of a regular file below `folder`. Blocking. Raises FetchError; its text names no
    path."""
    descriptor = _open(_components(url, folder), folder or "")
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise unavailable(_NOT_THERE)
    with open(descriptor, "rb", buffering=0) as file:
        size = status.st_size
        if size <= max_bytes:
            data = read_whole(file, size)
            while chunk := file.read(min(1 << 20, max_bytes + 1 - len(data))):
                data += chunk  # it has grown meanwhile
            size = len(data)
        if size > max_bytes:
            text = f"The file is larger than the {max_bytes} bytes that one item may have."
            raise FetchError("too_large", text)
        return data


def open_local(url: str, folder: str | None, max_bytes: int) -> OpenFile | None:
    """A regular file below `folder` that is not large; None of any other, and of what is no file.
    Raises FetchError."""
    descriptor = _open(_components(url, folder), folder or "")
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size <= min(AT_HAND_BYTES, max_bytes):
        return OpenFile(descriptor, status.st_size)
    os.close(descriptor)
    return None


def read_at_hand(file: OpenFile, into: memoryview) -> bool:
    """The whole of it, which fills `into`. False: not all of it is in the system's memory, which
    may not know either, or it has grown or shrunk."""
    try:
        count = os.preadv(file.descriptor, [into, bytearray(1)], 0, os.RWF_NOWAIT)
    except OSError:
        return False
    return count == file.nbytes


def read_whole(file: RawIOBase, size: int) -> bytearray:
    """So many bytes, or those that are left. Filled in place: every further copy of a picture takes
    as long as reading it."""
    data, filled = bytearray(size), 0
    with memoryview(data) as view:
        while filled < size and (count := file.readinto(view[filled:])):
            filled += count
    del data[filled:]
    return data


def _components(url: str, folder: str | None) -> list[str]:
    """The names from `folder` down to the file."""
    if folder is None:
        text = "file: URLs are switched off; --allowed-local-media-path names a folder for them."
        raise forbidden(text)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise invalid("The URL cannot be read.") from None
    path = unquote(parts.path)
    root = [name for name in os.path.abspath(folder).split("/") if name]
    names = [name for name in path.split("/") if name and name != "."]
    wrong = (
        parts.netloc not in ("", "localhost")
        or not path.startswith("/")
        or "\0" in path
        or ".." in names
    )
    if wrong or names[: len(root)] != root or len(names) == len(root):
        raise forbidden(
            "The file: URL leads out of the folder that --allowed-local-media-path allows."
        )
    return names[len(root) :]


def _open(names: list[str], folder: str) -> int:
    """A descriptor of the last of `names`; O_NONBLOCK, so that a FIFO cannot hold us."""
    common = os.O_RDONLY | os.O_CLOEXEC
    current = -1
    try:
        current = os.open(folder, common | os.O_DIRECTORY)
        for index, name in enumerate(names):
            kind = os.O_NONBLOCK if index == len(names) - 1 else os.O_DIRECTORY
            inner = os.open(name, common | os.O_NOFOLLOW | kind, dir_fd=current)
            os.close(current)
            current = inner
    except (OSError, ValueError):
        if current >= 0:
            os.close(current)
        raise unavailable(_NOT_THERE) from None
    return current
