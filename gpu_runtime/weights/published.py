"""Names under which checkpoints were published and that transformers' own mapping does not know."""

import re

RENAMES: dict[str, tuple[tuple[str, str], ...]] = {
    "qwen3_asr": (
        (r"^thinker\.audio_tower\.proj(\d)\.", r"model.multi_modal_projector.linear_\1."),
        (r"^thinker\.audio_tower\.", "model.audio_tower."),
        (r"^thinker\.model\.", "model.language_model."),
        (r"^thinker\.lm_head\.", "lm_head."),
    ),
}
"""By model type, (pattern, replacement): the first that matches."""


def current(model_type: str, name: str) -> str:
    """The name that transformers' mapping takes for the stored name."""
    for pattern, replacement in RENAMES.get(model_type, ()):
        renamed, found = re.subn(pattern, replacement, name)
        if found:
            return renamed
    return name
