"""transformers' video processors over our kernels make, bit by bit, what they made over the real
torchvision."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from thespis.gpu_runtime.processing.stand_in import find_class

from .clips import CASES, KINDS, digest, made

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded_clips.json").read_text())
pytestmark = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="bytes are resized by other kernels on this processor, as they would be by torchvision",
)


def test_the_clips_are_not_made_by_torchvision_itself() -> None:
    assert find_spec("torchvision") is None
    assert RECORDED["versions"]["torchvision"].startswith("0.28")
    assert RECORDED["digests"].keys() == CASES.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_is_what_it_is_over_torchvision(kind: str) -> None:
    ours = find_class(kind)
    assert ours is not None
    for name, (named, options, size) in CASES.items():
        if named == kind:
            assert digest(made(ours, options, size)) == RECORDED["digests"][name], name
