"""Decode steps that are recorded once and repeated, as a CUDA graph repeats them, say what steps
say that are computed anew."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from thespis.gpu_runtime.runner import runner
from thespis.gpu_runtime.steps.repeated import RepeatedDecode
from thespis.gpu_runtime.triton.attention import TritonKernels

from ..gpu_runtime.adapter import test_adapter
from ..gpu_runtime.driving import Prompt
from ..gpu_runtime.tiny import (
    answers,
    assert_equal,
    facts_of,
    generated,
    make,
    prompt_of,
    runner_for,
)
from .loaded import ALL, IN_INTERPRETER, kernels
from .recording import Recorder

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(not IN_INTERPRETER, reason="a GPU has graphs of its own"),
]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Runners record by it."""
    made, own = Recorder(), kernels()
    module: Any = SimpleNamespace(
        **{
            f"{name}_kernel": made.kernel(getattr(own, name))
            for name in ("decode", "merge", "prefill")
        }
    )
    monkeypatch.setattr(runner, "usable_kernels", lambda dtype, device: TritonKernels(module, ALL))
    monkeypatch.setattr(runner, "recorder_for", lambda device: made)
    return made


def model_in(folder: Path, family: str, **changes: Any) -> Any:
    return make(
        getattr(test_adapter.tf, f"{family}ForCausalLM"),
        test_adapter.config_of(family, **changes),
        folder,
    )


@pytest.mark.parametrize(("family", "changes"), [("Qwen2", {}), ("Mistral", {"sliding_window": 8})])
def test_repeated_steps_are_those_computed_anew(
    family: str, changes: dict[str, Any], recorder: Recorder, tmp_path: Path
) -> None:
    """Of one, two and three sequences, whose contexts grow and come to further pieces while they
    are repeated."""
    model = model_in(tmp_path, family, **changes)
    texts = [prompt_of(length, length) for length in (3, 21, 253)]
    ran = runner_for(facts_of(tmp_path))
    assert isinstance(ran._repeated, RepeatedDecode)
    for some in (texts, texts[:2], texts[1:2]):
        assert answers(ran, [Prompt(text) for text in some], 512) == [
            generated(model, text) for text in some
        ]
    assert len(ran._repeated._recorded) >= 2
    assert recorder.repeated > len(ran._repeated._recorded), "more than each is tried"


def test_what_comes_out_otherwise_is_not_repeated(
    recorder: Recorder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(
        runner, "recorder_for", lambda device: lambda work: (torch.zeros_like(work()), lambda: None)
    )
    assert_equal(model_in(tmp_path, "Qwen2"), tmp_path, lengths=(3, 21))
    assert caplog.messages == ["steps are launched one by one: a recorded one cannot be repeated"]


def test_models_whose_code_is_not_ours_are_not_recorded(recorder: Recorder, tmp_path: Path) -> None:
    """It may look at numbers on the host."""
    ran = assert_equal(model_in(tmp_path, "Granite"), tmp_path, lengths=(3, 21))
    assert ran._repeated is None
