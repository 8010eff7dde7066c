"""A checkpoint folder around a GGUF file: config.json, tokenizer, chat template and ends out of its
metadata.

Run as a program by whoever starts an engine, so that no face imports transformers:
`python -m thespis.gpu_runtime.gguf FILE FOLDER [BESIDE]`.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from ...protocol.checkpoint.gguf_file import WEIGHTS, read_gguf
from ...protocol.checkpoint.tokenizer_file import tokenizer_files
from ...protocol.errors import EngineError
from .config import described, ends_of


def prepare(path: Path, folder: Path, beside: Path | None = None) -> None:
    """Fill `folder`, which is there. `beside`: a folder whose tokenizer is taken instead, where it
    has one.

    Raises EngineError for what cannot be read.
    """
    file = read_gguf(path)
    config = described(path, file)
    if beside is not None and (beside / "tokenizer.json").is_file():
        for found in tokenizer_files(beside):
            shutil.copyfile(found, folder / found.name)
    else:
        _tokenizer(path).save_pretrained(folder)
    vocabulary = _vocabulary(folder)
    ends = ends_of(file, vocabulary)
    _write(folder, "config.json", config)
    _write(folder, "generation_config.json", {"eos_token_id": ends} if ends else {})
    (folder / WEIGHTS).symlink_to(path.resolve())


def _tokenizer(path: Path) -> Any:
    from transformers import AutoTokenizer

    library: Any = AutoTokenizer  # untyped
    try:
        return library.from_pretrained(path.parent, gguf_file=path.name)
    except (KeyError, ValueError, TypeError, IndexError, OSError) as error:
        raise EngineError(
            f"transformers cannot make a tokenizer of {path.name}'s metadata "
            f"({type(error).__name__}): lay the model's "
            "tokenizer.json beside it, and give the folder."
        ) from error


def _vocabulary(folder: Path) -> dict[str, int]:
    from tokenizers import Tokenizer

    known: dict[str, int] = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    return known


def _write(folder: Path, name: str, content: dict[str, Any]) -> None:
    (folder / name).write_text(json.dumps(content, indent=2, sort_keys=True, default=str) + "\n")
