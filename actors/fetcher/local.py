"""file: URLs, below one folder and nowhere else: opened component by component, following no
link."""

import os
import stat
from urllib.parse import unquote, urlsplit

from .policy import FetchError, forbidden, invalid

_NOT_THERE = "There is no regular file at the file: URL's place, or it cannot be read."


def read_local(url: str, folder: str | None, max_bytes: int) -> bytearray:
    """The bytes of a regular file below `folder`. Blocking. Raises FetchError; its text names no
    path."""
    descriptor = _open(_components(url, folder), folder or "")
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise FetchError("media_unavailable", _NOT_THERE)
    with open(descriptor, "rb", buffering=0) as file:
        if status.st_size > max_bytes:
            raise FetchError(
                "too_large",
                f"The file is larger than the {max_bytes} bytes that one item may have.",
            )
        data = bytearray(
            status.st_size
        )  # filled in place: every further copy of a picture takes as long as reading it
        with memoryview(data) as view:
            filled = 0
            while filled < len(data) and (count := file.readinto(view[filled:])):
                filled += count
        del data[filled:]  # it has shrunk meanwhile
        while chunk := file.read(min(1 << 20, max_bytes + 1 - len(data))):
            data += chunk
            if len(data) > max_bytes:  # it has grown meanwhile
                raise FetchError(
                    "too_large",
                    f"The file is larger than the {max_bytes} bytes that one item may have.",
                )
        return data


def _components(url: str, folder: str | None) -> list[str]:
    """The names from `folder` down to the file."""
    if folder is None:
        raise forbidden(
            "file: URLs are switched off; --allowed-local-media-path names a folder for them."
        )
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
        raise FetchError("media_unavailable", _NOT_THERE) from None
    return current
