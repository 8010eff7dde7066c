"""Files of a folder, changed."""

import json
from pathlib import Path
from typing import Any


def rewritten(folder: Path, name: str, **changes: Any) -> Path:
    """The folder with fields of one file changed; None leaves a field out."""
    file = folder / name
    said = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in said.items() if value is not None}))
    return folder
