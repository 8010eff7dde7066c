"""The model's tokenizer, for callers who want it in their own process."""

from functools import cache
from typing import Any


@cache
def tokenizer_of(folder: str) -> Any:
    """transformers' own, from the files of the folder alone. Imports transformers."""
    from transformers import AutoTokenizer

    from ...gpu_runtime import families  # noqa: F401 - makes the types known that transformers does not have

    kind: Any = AutoTokenizer  # untyped in transformers
    return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
