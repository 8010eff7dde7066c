"""Which forms of quantised weights are read, by what config.json says of them alone."""

from pathlib import Path
from typing import Any

import pytest

from thespis.protocol.checkpoint import quantization
from thespis.protocol.checkpoint.quantization import (
    quantization_of,
    refuse_foreign,
    without_quantization,
)
from thespis.protocol.errors import EngineError

GROUP = {
    "targets": ["Linear"],
    "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128},
}


def stated(method: str | None, **more: Any) -> dict[str, Any]:
    return {"quantization_config": ({} if method is None else {"quant_method": method}) | more}


def compressed(form: str = "pack-quantized", **more: Any) -> dict[str, Any]:
    return {"config_groups": {"group_0": GROUP}, "format": form, **more}


@pytest.mark.parametrize(
    ("said", "method"),
    [
        ({}, None),
        ({"quantization_config": None}, None),
        (stated("fp8", weight_block_size=[128, 128], fmt="e4m3"), "fp8"),
        (stated("fp8", weight_block_size=None), "fp8"),
        (stated("awq", bits=4, version="gemm", group_size=128), "awq"),
        (stated("awq", bits=4, version="GEMM", group_size=-1), "awq"),
        (stated("gptq", bits=4, group_size=128, desc_act=True), "gptq"),
        (
            stated(
                "gptq",
                bits=8,
                group_size=-1,
                checkpoint_format="gptq_v2",
                dynamic={"-:lm_head": {}},
            ),
            "gptq",
        ),
        (stated("compressed-tensors", **compressed()), "compressed-tensors"),
        (
            stated(None, **compressed("float-quantized", sparsity_config={"format": "dense"})),
            "compressed-tensors",
        ),
        (
            {"compression_config": {"quant_method": "compressed-tensors", **compressed()}},
            "compressed-tensors",
        ),
        ({"text_config": stated("fp8")}, "fp8"),
    ],
)
def test_what_is_read_is_known_by_its_method(said: dict[str, Any], method: str | None) -> None:
    assert quantization_of(said, "some/model") == method
    assert quantization_of(without_quantization(said), "some/model") is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (stated("gptq", bits=3), "(gptq, 3 bits, layout gptq)"),
        (stated("gptq", bits=4, checkpoint_format="bitblas"), "(gptq, 4 bits, layout bitblas)"),
        (stated("gptq", bits=4, is_marlin_format=True), "(gptq, 4 bits, layout marlin)"),
        (
            stated("gptq", bits=4, dynamic={"-:lm_head": {}, "+:.*down.*": {"bits": 8}}),
            "(gptq, other bits in some modules)",
        ),
        (stated("modelopt", quant_algo="NVFP4"), "(modelopt, NVFP4)"),
        (stated("bitsandbytes", load_in_4bit=True), "(bitsandbytes, load_in_4bit)"),
        (stated("hqq"), "(hqq)"),
        (stated(None, bits=4), "(unknown)"),
        ({"quantization_config": "yes"}, "(unknown)"),
        (stated("fp8", fmt="e5m2"), "(fp8, e5m2)"),
        (stated("awq", bits=4, version="gemv"), "(awq, 4 bits, version gemv)"),
        (stated("awq", bits=3), "(awq, 3 bits"),
        (
            stated("compressed-tensors", **compressed("nvfp4-pack-quantized")),
            "nvfp4-pack-quantized",
        ),
        (stated("compressed-tensors", **compressed("marlin-24")), "marlin-24"),
        (stated("compressed-tensors", **compressed(quantization_status="frozen")), "frozen"),
        (
            stated(
                "compressed-tensors", **compressed(sparsity_config={"format": "sparse-24-bitmask"})
            ),
            "sparse-24-bitmask",
        ),
        (
            stated(
                "compressed-tensors", **compressed(transform_config={"config_groups": {"a": {}}})
            ),
            "transforms",
        ),
        (
            stated(
                "compressed-tensors",
                format="pack-quantized",
                config_groups={"a": {"weights": {"actorder": "group"}}},
            ),
            "order of its activations",
        ),
    ],
)
def test_what_is_not_read_is_refused_by_name_with_what_to_choose(
    said: dict[str, Any], words: str
) -> None:
    with pytest.raises(EngineError) as refused:
        quantization_of(said, "some/model")
    text = str(refused.value)
    assert words in text
    assert "which is not read: give the model unquantised, or as FP8" in text


@pytest.mark.parametrize(
    "said",
    [
        stated("fp8", weight_block_size=128),
        stated("fp8", weight_block_size=[0, 128]),
        stated("fp8", weight_block_size=["a", 1]),
        stated("awq", group_size="128"),
        stated("awq", group_size=0),
        stated("gptq"),
        stated("gptq", bits=4, group_size=0),
        stated("gptq", bits=4, dynamic=[1]),
        stated("compressed-tensors"),
        stated("compressed-tensors", config_groups=[], format="pack-quantized"),
        stated("compressed-tensors", config_groups={"a": None}, format="pack-quantized"),
    ],
)
def test_what_makes_no_sense_is_broken(said: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=r"config\.json of 'some/model' is broken"):
        quantization_of(said, "some/model")


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"a library is missing: pip install 'thespis\[quant\]'"):
        quantization_of(stated("compressed-tensors", **compressed()), "some/model")


def test_a_tools_own_file_tells_where_config_says_nothing(tmp_path: Path) -> None:
    refuse_foreign(tmp_path, {}, "some/model")
    (tmp_path / "hf_quant_config.json").write_text("{}")
    with pytest.raises(
        EngineError, match=r"quantised \(modelopt, as its hf_quant_config\.json says\)"
    ):
        refuse_foreign(tmp_path, {}, "some/model")
    refuse_foreign(tmp_path, stated("fp8"), "some/model")
