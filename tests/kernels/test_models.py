"""Whole models over Triton's kernels, in float32 and so in the interpreter alone: what transformers
says, token for token."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from thespis.gpu_runtime.runner import runner
from thespis.gpu_runtime.triton.attention import OnDevice

from ..gpu_runtime.adapter import test_adapter
from ..gpu_runtime.inspection import test_spans
from ..gpu_runtime.tiny import assert_equal, make
from .loaded import IN_INTERPRETER, kernels

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(not IN_INTERPRETER, reason="float32 keeps torch's operations on a GPU"),
]
TEXTS = [
    ("Qwen2", {}),
    (
        "Gemma2",
        test_adapter.MODELS["softcaps, scaled embeddings and a window in every other layer"][1],
    ),
    ("GptOss", test_adapter.MODELS["sinks"][1]),
]


@pytest.fixture(autouse=True)
def launches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runners have the kernels, and do call them."""
    called: list[int] = []
    own = OnDevice.__call__

    def call(self: OnDevice, layer: int, *given: Any) -> Any:
        called.append(layer)
        return own(self, layer, *given)

    monkeypatch.setattr(OnDevice, "__call__", call)
    monkeypatch.setattr(runner, "usable_kernels", lambda dtype, device: kernels())
    yield
    assert {0, 1, 2} <= set(called)


@pytest.mark.parametrize(("family", "changes"), TEXTS)
def test_texts(family: str, changes: dict[str, Any], tmp_path: Path) -> None:
    kind = getattr(test_adapter.tf, f"{family}ForCausalLM")
    assert_equal(
        make(kind, test_adapter.config_of(family, **changes), tmp_path), tmp_path, lengths=(7, 40)
    )


@pytest.mark.parametrize("family", ["gemma3", "molmo2", "paligemma2"])
def test_spans_that_see_both_ways(family: str, tmp_path: Path) -> None:
    test_spans.test_tokens_see_each_other_as_the_family_says(family, test_spans.PICTURES, tmp_path)
