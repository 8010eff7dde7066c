"""What transformers' tokenizer classes make other than tokenizer.json says: some build anew how
texts are cut and joined."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


def tokenizer_parts(folder: Path, tokenizer: PreTrainedTokenizerBase) -> str:
    """Those of PARTS in which `tokenizer` differs from the folder's tokenizer.json, as JSON; "": in
    none."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return ""
    stored = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made = {part: (_part(stored, part), _part(backend, part)) for part in PARTS}
    other = {part: own for part, (said, own) in made.items() if own != said}
    return json.dumps(other) if other else ""


def _part(tokenizer: Any, name: str) -> Any:
    """As tokenizer.json would have it; None where it does nothing."""
    part = getattr(tokenizer, name)
    if part is None:
        return None
    said = json.loads(part.__getstate__())
    adds = said.get("special_tokens") or said["type"] != "TemplateProcessing"
    return said if adds or len(said["single"]) != 1 else None
