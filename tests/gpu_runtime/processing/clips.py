"""Clips and pictures for those processors of transformers that ask for torchvision, and digests of
what they make of them."""

import hashlib
from typing import Any

import numpy as np
import torch
from PIL import Image

Size = tuple[int, int, int]
SIZES: tuple[Size, ...] = ((4, 56, 56), (5, 97, 150), (2, 500, 333), (3, 61, 40))
"""(frames, height, width): as they are, odd, shrunk, enlarged. A picture is the first frame."""
KINDS: dict[str, dict[str, Any]] = {
    "Qwen2VLVideoProcessor": {
        "size": {"shortest_edge": 3136, "longest_edge": 50176},
        "cap_pixels_per_frame": False,
    },
    "Qwen3VLVideoProcessor": {
        "size": {"shortest_edge": 4096, "longest_edge": 262144},
        "cap_pixels_per_frame": False,
    },
    "LlavaOnevisionVideoProcessor": {"size": {"height": 112, "width": 112}},
    "InternVLVideoProcessor": {"size": {"height": 112, "width": 112}},
    "SmolVLMVideoProcessor": {
        "size": {"longest_edge": 128},
        "max_image_size": {"longest_edge": 128},
    },
    "Glm4vVideoProcessor": {"size": {"shortest_edge": 12544, "longest_edge": 200704}},
    "Glm46VVideoProcessor": {"size": {"shortest_edge": 12544, "longest_edge": 200704}},
    "Gemma4VideoProcessor": {},
    "MiniCPMV4_6VideoProcessor": {},
    "Cohere2VisionImageProcessor": {"size": {"height": 128, "width": 128}, "max_patches": 4},
    "Lfm2VlImageProcessor": {},
    "Llama4ImageProcessor": {"size": {"height": 112, "width": 112}},
    "Molmo2ImageProcessor": {"max_crops": 2},
    "Phi4MultimodalImageProcessor": {"dynamic_hd": 4},
}
"""Smaller than published, so that many are made in little time. Qwen2.5-VL has Qwen2-VL's class for
clips."""
CASES: dict[str, tuple[str, dict[str, Any], Size]] = {
    f"{kind} {size[0]}x{size[1]}x{size[2]}": (kind, options, size)
    for kind, options in KINDS.items()
    for size in SIZES
}


def recorded(classes: Any) -> dict[str, dict[str, str]]:
    """Digests of all cases; `classes` has the processors' as attributes."""
    return {
        name: digest(made(getattr(classes, kind), options, size))
        for name, (kind, options, size) in CASES.items()
    }


def made(kind: type[Any], options: dict[str, Any], size: Size) -> dict[str, torch.Tensor]:
    """What the class makes of noise, and of slopes."""
    frames = np.stack([noise(size), smooth(size)])
    out: dict[str, torch.Tensor] = {}
    for nth, clip in enumerate(frames):
        if "Image" in kind.__name__:
            answer = kind(**options)([Image.fromarray(clip[0])], return_tensors="pt")
        else:
            answer = kind(**options)(videos=[clip], do_sample_frames=False, return_tensors="pt")
        out.update(
            {
                f"{name}{nth}": torch.as_tensor(value)
                for name, value in answer.items()
                if name != "video_metadata"
            }
        )
    return out


def noise(size: Size) -> Any:
    """[T, H, W, 3] uint8."""
    return np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), dtype=np.uint8)


def smooth(size: Size) -> Any:
    """[T, H, W, 3] uint8: slopes, whose ends are where rounding shows."""
    frames, height, width = size
    time, row, column = np.ogrid[:frames, :height, :width]
    planes = [
        (row * 255 // height + 0 * column + 0 * time),
        (column * 255 // width + time * 7 + 0 * row),
        row + column + time,
    ]
    return np.stack([np.broadcast_to(plane, size) % 256 for plane in planes], axis=-1).astype(
        np.uint8
    )


def digest(tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    """By name: type, shape, and the first digits of the SHA-256 of the bytes."""
    return {
        name: f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)} "
        + hashlib.sha256(value.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()[:16]
        for name, value in sorted(tensors.items())
    }
