"""What transformers' video processors make of clips over the real torchvision, as digests that
tests compare with.

    PYTHONPATH=FOLDER .venv/bin/python -P -m thespis.scripts.record_clips

FOLDER has a torchvision that fits torch (`pip install --no-deps --target FOLDER
torchvision==0.28.0` for torch 2.13): the engine's own environment must not, or its tests would
compare torchvision with itself. Writes tests' `recorded_clips.json`.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

RECORDED = (
    Path(__file__).resolve().parents[1]
    / "tests"
    / "gpu_runtime"
    / "processing"
    / "recorded_clips.json"
)


def main() -> int:
    made: Any = torch.library.Library
    library = made(
        "torchvision", "DEF"
    )  # beside a torch without CUDA, torchvision's own file does not declare them
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torchvision, transformers = import_module("torchvision"), import_module("transformers")
    from thespis.tests.gpu_runtime.processing.clips import recorded

    digests = recorded(transformers)
    versions = {
        "torchvision": torchvision.__version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
    }
    RECORDED.write_text(
        json.dumps({"versions": versions, "digests": digests}, indent=1, sort_keys=True) + "\n"
    )
    print(f"{len(digests)} clips and pictures, {versions}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
