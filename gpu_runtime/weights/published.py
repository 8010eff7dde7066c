"""Names under which checkpoints were published and that transformers' own mapping does not know."""

import re
from collections.abc import Iterable
from typing import Any

from transformers.conversion_mapping import get_checkpoint_conversion_mapping

RENAMES: dict[str, tuple[tuple[str, str], ...]] = {
    "minicpmv": (
        (r"^llm\.lm_head\.", "lm_head."),
        (r"^llm\.model\.", "model.language_model."),
        (r"^(vpm|resampler)\.", r"model.\1."),
    ),
    "phi3_v": (
        (
            r"^model\.vision_embed_tokens\.img_processor\.vision_model\.",
            "model.vision_embed_tokens.img_processor.",
        ),
        (r"^model\.(?!vision_embed_tokens\.)", "model.language_model."),
    ),
    "ultravox": (
        (r"^language_model\.lm_head\.", "lm_head."),
        (r"^language_model\.model\.", "model.language_model."),
        (r"^(audio_tower|multi_modal_projector)\.", r"model.\1."),
    ),
    "qwen3_asr": (
        (r"^thinker\.audio_tower\.proj(\d)\.", r"model.multi_modal_projector.linear_\1."),
        (r"^thinker\.audio_tower\.", "model.audio_tower."),
        (r"^thinker\.model\.", "model.language_model."),
        (r"^thinker\.lm_head\.", "lm_head."),
    ),
}
"""By model type, (pattern, replacement): the first that matches."""


_ONE_EXPERT = re.compile(r"\.mlp\.experts\.\d+\.(gate|up|down)_proj\.weight$")
_ONE_BY_ONE = "qwen2_moe"
"""A type whose experts are stored one by one, under the names that all tools use who take experts
apart."""


def experts_one_by_one(names: Iterable[str], mapping: Iterable[Any]) -> list[Any]:
    """What joins experts where the model's own mapping knows them only as one tensor: tools that
    quantise take them apart."""
    known = any("experts.*." in pattern for entry in mapping for pattern in entry.source_patterns)
    if known or not any(_ONE_EXPERT.search(name) for name in names):
        return []
    mapping_of: Any = get_checkpoint_conversion_mapping  # untyped
    return list(mapping_of(_ONE_BY_ONE))


def current(model_type: str, name: str) -> str:
    """The name that transformers' mapping takes for the stored name."""
    for pattern, replacement in RENAMES.get(model_type, ()):
        renamed, found = re.subn(pattern, replacement, name)
        if found:
            return renamed
    return name
