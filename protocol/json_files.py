"""The small JSON files of a checkpoint folder."""

import json
from pathlib import Path
from typing import Any

from .errors import EngineError

Json = dict[str, Any]


def read_object(folder: Path, name: str) -> Json:
    """A file's JSON object; {}: there is no such file. Raises EngineError for one that cannot be read, or holds no object."""
    try:
        value = json.loads((folder / name).read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise EngineError(f"{name} in {str(folder)!r} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise EngineError(f"{name} in {str(folder)!r} cannot be read as JSON.") from None
    if not isinstance(value, dict):
        raise EngineError(f"{name} in {str(folder)!r} holds no JSON object.")
    return value
