"""What of torch and transformers this floor uses that they call private: a release that changes it
fails here, by its name, and not in the middle of somebody's start."""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from torch._C._distributed_c10d import Backend
from torch.utils import _pytree
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    ProcessorMixin,
    masking_utils,
)
from transformers import modeling_gguf_pytorch_utils as gguf_utils
from transformers.image_processing_backends import PilBackend
from transformers.models.falcon_mamba import modeling_falcon_mamba
from transformers.models.mamba2 import modeling_mamba2
from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoder
from transformers.models.voxtral.processing_voxtral import VoxtralProcessor
from transformers.utils import import_utils

import thespis.gpu_runtime

ROOT = Path(thespis.gpu_runtime.__file__).parent
BLANK: Any = nn.Linear(2, 2, device="meta")
SMALL = LlamaConfig(
    hidden_size=16,
    intermediate_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    vocab_size=8,
)
OWNERS: dict[str, Any] = {
    "_reorder_linear_weight": torch.ops.mkldnn,
    "_linear_pointwise": torch.ops.mkldnn,
    "_C": torch,
    "_disabled_torch_function_impl": torch._C,
    "_timeout": Backend.Options,
    "_make_wrapper_subclass": torch.Tensor,
    "_parameters": BLANK,
    "_buffers": BLANK,
    "_non_persistent_buffers_set": BLANK,
    "_init_weights": PreTrainedModel,
    "_from_config": PreTrainedModel,
    "_keep_in_fp32_modules_strict": PreTrainedModel,
    "_keys_to_ignore_on_load_unexpected": PreTrainedModel,
    "_attn_implementation": SMALL,
    "_merge_kwargs": ProcessorMixin,
    "_process_images": ProcessorMixin,
    "_retrieve_input_features": VoxtralProcessor,
    "_get_feat_extract_output_lengths": Qwen2AudioEncoder,
}
"""By name, who has it: every private attribute of others that the product reads."""
OVERRIDDEN: tuple[tuple[type, str], ...] = (
    (PilBackend, "_preprocess"),
    (ProcessorMixin, "_process_videos"),
    (ProcessorMixin, "_process_audio"),
    (ProcessorMixin, "_check_special_mm_tokens"),
    (PreTrainedModel, "_can_compile_fullgraph"),
    (PreTrainedModel, "_supports_attention_backend"),
    (PreTrainedModel, "_supports_sdpa"),
    (PreTrainedModel, "_tied_weights_keys"),
)
"""What the families built here override or set."""
OF_NAMED_TUPLES = {"_replace", "_asdict"}
PATCHED: tuple[tuple[Any, str], ...] = (
    (masking_utils, "blockwise_overlay"),
    (modeling_falcon_mamba, "mamba_selective_scan"),
    (modeling_mamba2, "mamba2_selective_state_update"),
    (import_utils, "create_import_structure_from_path"),
    (import_utils, "fetch__all__"),
    (gguf_utils, "TENSOR_PROCESSORS"),
    (gguf_utils, "TensorProcessor"),
    (gguf_utils, "get_gguf_hf_weights_map"),
)
"""Public by their names, and documented nowhere: functions that are replaced, or that load."""


def _private_reads() -> set[str]:
    """Names of private attributes of anything but `self`, less those that this floor defines."""
    read, own = set[str](), set[str]()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                own.add(node.target.id)
            if not isinstance(node, ast.Attribute) or node.attr.startswith("__"):
                continue
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                own.add(node.attr)
            elif node.attr.startswith("_"):
                read.add(node.attr)
    return read - own - OF_NAMED_TUPLES


def test_every_private_name_that_is_read_is_pinned_here() -> None:
    assert _private_reads() <= OWNERS.keys()


@pytest.mark.parametrize("name", OWNERS)
def test_its_owner_has_it(name: str) -> None:
    assert hasattr(OWNERS[name], name)


@pytest.mark.parametrize(("owner", "name"), [*OVERRIDDEN, *PATCHED])
def test_what_is_overridden_or_replaced_is_there(owner: Any, name: str) -> None:
    assert hasattr(owner, name)


def test_onednn_multiplies_with_the_weight_that_it_has_reordered() -> None:
    onednn: Any = torch.backends.mkldnn
    if not onednn.is_available():
        pytest.skip("this torch has no oneDNN")
    x, weight, bias = torch.randn(4, 32), torch.randn(48, 32), torch.randn(48)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, 8)
    made = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    assert torch.allclose(made, x @ weight.T + bias, atol=1e-4)
    assert torch.equal(packed.to_dense(), weight)


def test_a_module_keeps_its_tensors_by_name_and_knows_which_are_not_stored() -> None:
    module = nn.Linear(2, 2)
    module.register_buffer("stored", torch.zeros(1))
    module.register_buffer("computed", torch.zeros(1), persistent=False)
    assert module._parameters.keys() == {"weight", "bias"}
    assert module._buffers.keys() == {"stored", "computed"}
    assert module._non_persistent_buffers_set == {"computed"}


def test_a_model_computes_its_own_tables_for_one_module() -> None:
    with torch.device("meta"):
        model = LlamaForCausalLM._from_config(SMALL)
    rotary: Any = model.model.rotary_emb
    for name in rotary._non_persistent_buffers_set:
        setattr(rotary, name, torch.full(getattr(rotary, name).shape, torch.nan))
    with torch.no_grad():
        model._init_weights(rotary)
    assert rotary.inv_freq.isfinite().all()


def test_of_a_part_alone_another_attention_can_be_asked_for() -> None:
    config: Any = LlamaConfig(**SMALL.to_dict())
    config._attn_implementation = {"": "eager"}
    assert config._attn_implementation == "eager"


def test_trees_are_mapped_where_a_type_is() -> None:
    assert _pytree.tree_map_only(int, str, ([1], {"a": 2.0})) == (["1"], {"a": 2.0})


def test_a_class_that_cannot_be_had_says_for_want_of_what() -> None:
    dummies = transformers.utils.dummy_torchvision_objects
    found: Any = next(
        one for one in vars(dummies).values() if inspect.isclass(one) and hasattr(one, "_backends")
    )
    assert found.is_dummy
    assert "torchvision" in found._backends
