"""tokenizer.json, as every reader of it is to have it, and the files that lie beside it."""

import json
from pathlib import Path

_FILES = (
    "tokenizer*.json",
    "*.model",
    "*_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template*",
)


def tokenizer_files(folder: Path) -> list[Path]:
    """All that tell of the folder's tokenizer and its chat template, in order of their names."""
    return sorted({path for pattern in _FILES for path in folder.glob(pattern) if path.is_file()})


def tokenizer_text(folder: str, parts: str) -> str:
    """The folder's tokenizer.json, with `parts` (`ModelFacts.tokenizer_parts`) in the place of its
    own.

    Raises OSError where there is none, ValueError where it is no text, or no JSON.
    """
    text = (Path(folder) / "tokenizer.json").read_text(encoding="utf-8")
    return json.dumps({**json.loads(text), **json.loads(parts)}) if parts else text
