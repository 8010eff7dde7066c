"""What transformers' video processors make of clips over the real torchvision, as digests that tests compare with.

    PYTHONPATH=FOLDER .venv/bin/python -P -m thespis.scripts.record_clips

FOLDER has a torchvision that fits torch (`pip install --no-deps --target FOLDER torchvision==0.28.0` for torch 2.13): the
engine's own environment must not, or its tests would compare torchvision with itself. Writes tests' `recorded_clips.json`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

RECORDED = Path(__file__).resolve().parents[1] / "tests" / "gpu_runtime" / "processing" / "recorded_clips.json"


def main() -> int:
    library = torch.library.Library(
        "torchvision", "DEF"
    )  # a build for CUDA declares these itself, one beside a CPU torch fails
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision
    import transformers

    from thespis.tests.gpu_runtime.processing.clips import CASES, digest, made

    hf: Any = transformers
    recorded = {name: digest(made(getattr(hf, kind), *case)) for name, (kind, *case) in CASES.items()}
    versions = {"torchvision": torchvision.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
    RECORDED.write_text(json.dumps({"versions": versions, "digests": recorded}, indent=1, sort_keys=True) + "\n")
    print(f"{len(recorded)} clips, {versions}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
