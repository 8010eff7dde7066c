"""Has the libraries that quantise make whole checkpoints of one tiny model, and records them with
the logits of the models that they unpack again, for
`tests/gpu_runtime/test_quantised_by_libraries.py`:

    python scripts/record_quantised.py transformers      # 5.23.0 with accelerate 1.15.0 python
    scripts/record_quantised.py llm_compressor    # 0.14.0 (it wants transformers 5.17 and
    compressed-tensors 0.19) python scripts/record_quantised.py gptqmodel         # 7.7.0 with
    GPTQMODEL_CPU_WORKERS=2, and transformers 5.23.0

Each in an environment of its own: no two of them want the same versions. All run on a CPU.
"""

import json
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

OUT = Path(__file__).parents[1] / "tests" / "gpu_runtime" / "quantised_by_libraries"
SIZES = {
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 32,
    "hidden_size": 64,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": True,
    "vocab_size": 128,
}
GROUP = 32
Model = Any
library: Any = transformers
FLOAT = torch.float32


def text(*factors: int, length: int = 40) -> list[int]:
    """Token ids that look drawn."""
    a, b, c = factors
    return [1, *((a * n * n + b * n + c) % 121 + 5 for n in range(length - 1))]


def plain(folder: Path) -> Path:
    """The model that all of them quantise, with a tokenizer as some ask for one."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    model = library.LlamaForCausalLM(library.LlamaConfig(**SIZES))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            mean, spread = (1.0, 0.1) if weight.ndim < 2 else (0.0, 0.2 if "embed" in name else 0.1)
            weight.normal_(mean, spread, generator=generator)
    model.bfloat16().save_pretrained(folder)
    words = Tokenizer(
        models.WordLevel({f"t{n}": n for n in range(SIZES["vocab_size"])}, unk_token="t0")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    library.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="t1", eos_token="t2", pad_token="t0"
    ).save_pretrained(folder)
    return folder


def by_transformers(source: Path, to: Path, block: tuple[int, int] | None) -> Model:
    """It quantises on GPUs alone, by operations that run anywhere; what it loads on a CPU it
    unpacks."""
    from transformers.quantizers.quantizer_finegrained_fp8 import FineGrainedFP8HfQuantizer

    quantizer: Any = FineGrainedFP8HfQuantizer
    validate, quantizer.validate_environment = (
        quantizer.validate_environment,
        lambda self, *_, **__: None,
    )
    how = library.FineGrainedFP8Config(weight_block_size=block)
    made = library.AutoModelForCausalLM.from_pretrained(
        source, quantization_config=how, dtype=torch.bfloat16, device_map="cpu"
    )
    made.save_pretrained(to)
    quantizer.validate_environment = validate
    return library.AutoModelForCausalLM.from_pretrained(to, dtype=FLOAT).float()


def by_llm_compressor(source: Path, to: Path, **how: Any) -> Model:
    compressor: Any = import_module("llmcompressor")
    modifiers: Any = import_module("llmcompressor.modifiers.quantization")
    model = library.AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    compressor.oneshot(
        model=model,
        recipe=modifiers.QuantizationModifier(targets="Linear", ignore=["lm_head"], **how),
    )
    model.save_pretrained(to, save_compressed=True)
    unpacked = library.CompressedTensorsConfig(run_compressed=False)
    read = library.AutoModelForCausalLM.from_pretrained(
        to, dtype=FLOAT, quantization_config=unpacked
    )
    return filled(source, read.state_dict())


def groups(symmetric: bool) -> Mapping[str, Any]:
    weights = {
        "num_bits": 4,
        "type": "int",
        "strategy": "group",
        "group_size": GROUP,
        "symmetric": symmetric,
    }
    return {"config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}


def by_gptqmodel(source: Path, to: Path, method: str) -> Model:
    quantizer: Any = import_module("gptqmodel")
    config: Any = import_module("gptqmodel.quantization.config")
    packing: Any = import_module("gptqmodel.quantization.awq.utils.packing_utils")
    how, backend = {
        "awq": (config.AWQConfig(bits=4, group_size=GROUP), quantizer.BACKEND.AWQ_TORCH),
        "gptq": (
            config.GPTQConfig(bits=4, group_size=GROUP, desc_act=True, sym=False),
            quantizer.BACKEND.TORCH,
        ),
    }[method]
    made = quantizer.GPTQModel.load(str(source), how, device="cpu", dtype=torch.float16)
    texts = [text(a, b, c, length=64) for a in range(1, 5) for b in range(4) for c in range(8)]
    made.quantize(
        [{"input_ids": ids, "attention_mask": [1] * 64} for ids in texts],
        batch_size=8,
        backend=backend,
    )
    made.save(str(to))
    read = quantizer.GPTQModel.load(
        str(to), backend=backend, device="cpu", dtype=torch.float16
    ).model
    weights = read.state_dict()
    for name, layer in read.named_modules():
        if hasattr(layer, "qweight"):
            layer.scales, layer.dequant_dtype = layer.scales.float(), torch.int32
            parts = (layer.qweight, layer.qzeros, layer.scales)
            weight = (
                packing.dequantize_gemm(*parts, bits=4, group_size=GROUP)
                if method == "awq"
                else layer.dequantize_weight()
            )
            weights[f"{name}.weight"] = weight.T
    return filled(source, weights)


def filled(source: Path, weights: Mapping[str, torch.Tensor]) -> Model:
    """The plain model with these, in float32: nothing but weights is rounded."""
    model = library.AutoModelForCausalLM.from_pretrained(source, dtype=FLOAT)
    model.load_state_dict({name: weights[name].float() for name in model.state_dict()})
    return model


MAKERS: dict[str, dict[str, tuple[Callable[..., Model], Mapping[str, Any]]]] = {
    "transformers": {
        "fp8-blocks": (by_transformers, {"block": (GROUP, GROUP)}),
        "fp8-whole": (by_transformers, {"block": None}),
    },
    "llm_compressor": {
        "compressed-fp8": (by_llm_compressor, {"scheme": "FP8_DYNAMIC"}),
        "compressed-w4a16": (by_llm_compressor, groups(symmetric=True)),
        "compressed-w4a16-zeros": (by_llm_compressor, groups(symmetric=False)),
    },
    "gptqmodel": {
        "awq": (by_gptqmodel, {"method": "awq"}),
        "gptq": (by_gptqmodel, {"method": "gptq"}),
    },
}


def main() -> None:
    for name, (make, how) in MAKERS[sys.argv[1]].items():
        with TemporaryDirectory() as place:
            source, to = plain(Path(place) / "plain"), Path(place) / "made"
            model = make(source, to, **how).eval()
            ids = text(7, 3, 0)
            with torch.inference_mode():
                logits = model(torch.tensor([ids])).logits[0]
            keep(name, to, ids, logits)


def keep(name: str, made: Path, ids: list[int], logits: torch.Tensor) -> None:
    """What the library wrote, but for its notes of how it went about it, and what the model says to
    `ids`."""
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((made / "config.json").read_text())
    config["quantization_config"].pop("meta", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    save_file(load_file(made / "model.safetensors"), folder / "model.safetensors", {"format": "pt"})
    save_file(
        {"ids": torch.tensor(ids), "logits": logits.contiguous()}, folder / "answer.safetensors"
    )


if __name__ == "__main__":
    main()
