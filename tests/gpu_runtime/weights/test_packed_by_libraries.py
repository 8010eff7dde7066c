"""Matrices that AutoAWQ and AutoGPTQ packed (`scripts/record_packed.py`) are here what they are
there, number for number."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from thespis.gpu_runtime.weights.packed.awq import Awq
from thespis.gpu_runtime.weights.packed.form import BrokenParts, Form
from thespis.gpu_runtime.weights.packed.gptq import Gptq

GROUP = 32
FORMS: dict[str, Form] = {
    "awq": Awq({"group_size": GROUP}),
    **{f"gptq{bits}": Gptq({"bits": bits, "group_size": GROUP}) for bits in (2, 4, 8)},
}
"""The four bits of GPTQ in the order of activations."""


def parts_of(name: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """(what is stored, the weight that the library makes of it)."""
    stored = load_file(Path(__file__).with_name("packed_by_libraries.safetensors"))
    parts = {
        key.partition(".")[2]: tensor
        for key, tensor in stored.items()
        if key.startswith(f"{name}.")
    }
    return parts, parts.pop("weight")


@pytest.mark.parametrize("name", FORMS)
def test_the_numbers_are_the_librarys(name: str) -> None:
    parts, wanted = parts_of(name)
    found = FORMS[name].unpack("w", parts, torch.float16)
    assert FORMS[name].shape(
        "w", {part: list(tensor.shape) for part, tensor in parts.items()}
    ) == list(found.shape)
    assert torch.equal(found, wanted)
    assert len(torch.unique(wanted)) > 4


def test_inputs_that_say_no_group_are_in_their_order() -> None:
    parts, wanted = parts_of("gptq8")
    owners = parts.pop("g_idx")
    assert owners.tolist() == sorted(owners.tolist())
    assert torch.equal(FORMS["gptq8"].unpack("w", parts, torch.float16), wanted)


def test_zeros_of_the_second_layout_are_the_zeros() -> None:
    parts, wanted = parts_of("gptq4")
    more = parts | {"qzeros": parts["qzeros"] + 0x11111111}  # none of its zeros is the last
    form = Gptq({"bits": 4, "group_size": GROUP, "checkpoint_format": "gptq_v2"})
    assert torch.equal(form.unpack("w", more, torch.float16), wanted)


def test_many_words_are_taken_apart_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thespis.gpu_runtime.weights.packed.gptq.STEP", 3)
    parts, wanted = parts_of("gptq4")
    assert torch.equal(FORMS["gptq4"].unpack("w", parts, torch.float16), wanted)


@pytest.mark.parametrize("owner", [-1, 2])
def test_a_group_that_there_is_not_is_told(owner: int) -> None:
    parts, _ = parts_of("gptq4")
    with pytest.raises(BrokenParts, match="g_idx name a group"):
        FORMS["gptq4"].unpack(
            "w", parts | {"g_idx": torch.full_like(parts["g_idx"], owner)}, torch.float16
        )
