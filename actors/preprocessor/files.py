"""The small JSON files of a checkpoint folder."""

import json
from pathlib import Path
from typing import Any

from ...protocol.errors import EngineError


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """{}: there is no such file, or it holds no object. Raises EngineError for one that cannot be read."""
    path = folder / name
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        raise EngineError(f"{name} of the model cannot be read as JSON.") from None
    return value if isinstance(value, dict) else {}
