"""What is kept for later starts: the user's cache, by the XDG Base Directory Specification."""

import os
from pathlib import Path


def cache_home() -> Path:
    """`$XDG_CACHE_HOME/thespis`, by default in `~/.cache`; a path that is not absolute counts for
    nothing, by the specification. Raises RuntimeError for a user without a home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".cache") / "thespis"
