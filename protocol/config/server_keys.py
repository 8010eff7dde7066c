"""The keys that a server asks its callers for, wherever an operator has written them."""

from collections.abc import Mapping

import msgspec

from ..errors import EngineError
from . import environment
from .server import ServerConfig
from .small_files import read_small


def with_keys(server: ServerConfig, environ: Mapping[str, str] | None = None) -> ServerConfig:
    """`server` with every key that it is told of by flag and by file, or, without those, by the
    environment. Idempotent.

    Raises EngineError for a file that cannot be read or holds none.
    """
    keys = list(server.api_key)
    if server.api_key_file is not None:
        keys += _keys_in(server.api_key_file)
    keys = [key.strip() for key in keys or [environment.read(environ).api_key]]
    return msgspec.structs.replace(server, api_key=tuple(filter(None, keys)), api_key_file=None)


def _keys_in(path: str) -> list[str]:
    text = read_small(path, "api_key_file", secret=True).decode("utf-8-sig", "surrogateescape")
    keys = [line for line in text.splitlines() if line.strip()]
    if not keys:
        raise EngineError(f"api_key_file {path!r} holds no key.")
    return keys
