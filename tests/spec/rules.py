"""What the operator of the engine `ruled` has said."""

from typing import Any

MOST = 56 * 84
"""Pixels that the operator of `ruled` allows; the tiny model's own range is 3136 to 9408 for
pictures, to 4704 for frames."""
GREY = (90, 160, 30)
"""On which that operator lays what is transparent."""
RULES: dict[str, Any] = {
    "served_model_name": "tiny",
    "dtype": "float32",
    "max_model_len": 1024,
    "allow_private_media": True,
    "trust_request_chat_template": True,
    "mm_processor_kwargs": {"max_pixels": MOST},
    "media_io_kwargs": {
        "image": {"rgba_background_color": list(GREY)},
        "video": {"num_frames": 6, "fps": 1.0, "max_duration": 4},
    },
    "limit_mm_per_prompt": {
        "image": {"count": 4, "width": 56, "height": 56},
        "video": {"num_frames": 4},
    },
}
