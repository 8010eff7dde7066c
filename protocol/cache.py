"""What is kept for later starts: the user's cache and data, by the XDG Base Directory
Specification."""

import os
import stat
from pathlib import Path


def cache_home() -> Path:
    """`$XDG_CACHE_HOME/thespis`, by default in `~/.cache`; a path that is not absolute counts for
    nothing, by the specification. Raises RuntimeError for a user without a home."""
    return _home("XDG_CACHE_HOME", ".cache")


def data_home() -> Path:
    """`$XDG_DATA_HOME/thespis`, by default in `~/.local/share`. Raises RuntimeError, too."""
    return _home("XDG_DATA_HOME", ".local/share")


def make_private(folder: Path) -> None:
    """The folder is there, and this user's alone. Raises OSError where it is somebody else's, or
    others may write to it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private(folder)


def check_private(folder: Path) -> None:
    """Raises OSError as `make_private` does, and where it is not there."""
    status = folder.lstat()
    own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if not own or status.st_mode & 0o022:
        raise PermissionError(1, "it belongs to others, or others may write to it")


def _home(variable: str, usual: str) -> Path:
    given = os.environ.get(variable, "")
    return (Path(given) if os.path.isabs(given) else Path.home() / usual) / "thespis"
