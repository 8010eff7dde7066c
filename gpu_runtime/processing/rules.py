"""The processors that one call an item does not fit, each with what it needs: everything else is derived."""

from .types import Rules

RULES: dict[str, Rules] = {
    "HunYuanVLProcessor": Rules(absolute_planes=True),
    "LlavaOnevisionProcessor": Rules(siblings=("image",)),
    "MiniCPMV4_6Processor": Rules(call={"use_image_id": False}, number="<image_id>{n}</image_id>"),
    "Qwen2_5OmniProcessor": Rules(leave_padding=False),
}
"""By the class's name."""


def rules_of(processor: object) -> Rules:
    return next((RULES[kind.__name__] for kind in type(processor).__mro__ if kind.__name__ in RULES), Rules())
