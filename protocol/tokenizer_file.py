"""tokenizer.json, as every reader of it is to have it."""

import json
from pathlib import Path


def tokenizer_text(folder: str, parts: str) -> str:
    """The folder's tokenizer.json, with `parts` (`ModelFacts.tokenizer_parts`) in the place of its own.

    Raises OSError where there is none, ValueError where it is no text, or no JSON.
    """
    text = (Path(folder) / "tokenizer.json").read_text(encoding="utf-8")
    return json.dumps({**json.loads(text), **json.loads(parts)}) if parts else text
