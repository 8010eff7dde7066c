"""The processors that one call an item does not fit, each with what it needs: everything else is
derived."""

from ...protocol.facts import Frame
from .types import Rules

RULES: dict[str, Rules] = {
    "HunYuanVLProcessor": Rules(absolute_planes=True),
    "LlavaOnevisionProcessor": Rules(siblings={"image": "image"}),
    "MiniCPMV4_6Processor": Rules(call={"use_image_id": False}, number="<image_id>{n}</image_id>"),
    "MiniCPMVProcessor": Rules(number="<image_id>{n}</image_id>", number_kinds=("image",)),
    "Molmo2Processor": Rules(
        frame=lambda tokenizer: Frame(begin=tokenizer.bos_token or tokenizer.eos_token)
    ),
    "PaliGemmaProcessor": Rules(
        frame=lambda tokenizer: Frame(behind_items=tokenizer.bos_token, end="\n")
    ),
    "Phi3VProcessor": Rules(numbered="<|image_{n}|>", apart=True),
    "Phi4MultimodalProcessor": Rules(siblings={"audio": "image"}),
    "Qwen2_5OmniProcessor": Rules(leave_padding=False),
    "Qwen3ASRProcessor": Rules(extractor="Qwen3ASRFeatureExtractor"),
    "VoxtralProcessor": Rules(pieces=True),
}
"""By the class's name."""


def rules_of(kind: type[object]) -> Rules:
    """Of a processor's class."""
    return next((RULES[base.__name__] for base in kind.__mro__ if base.__name__ in RULES), Rules())
