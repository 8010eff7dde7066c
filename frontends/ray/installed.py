"""Ray is an extra, imported by what runs on it: never at the import of a module of this package."""

from importlib.util import find_spec

from ...protocol.errors import EngineError


def check_installed(what: str) -> None:
    """Without an import. `what` needs it: a flag, or what stands in a program. Raises EngineError
    that says what to install."""
    if find_spec("ray") is None:
        raise EngineError(f"{what} needs Ray: pip install 'thespis[ray]'.")
