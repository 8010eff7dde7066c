"""GGUF files are the models that transformers makes of them, number for number and token for
token."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf.quants import dequantize
from transformers import modeling_gguf_pytorch_utils

from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.gguf.prepare import prepare
from thespis.gpu_runtime.gguf.tensors import floats
from thespis.gpu_runtime.inspection.hf import build_on_meta
from thespis.gpu_runtime.runner.runner import Runner
from thespis.gpu_runtime.weights.checkpoint import Checkpoint
from thespis.protocol.checkpoint.gguf_file import BLOCKS, read_gguf
from thespis.protocol.errors import EngineError

from ...helpers.gguf_files import Quant, write_gguf
from ...zoo.catalog import Zoo, animal
from ...zoo.writing import write
from ..driving import Driver, Prompt, runner_config

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]
CPU = torch.device("cpu")
TOKENS = 8
SAID: dict[str, Any] = {"type": "linear", "factor": 8.0}
LINEAR = {"rope_type": "linear", "factor": 8.0}
MODELS = (
    "llama",
    "llama_2",
    "mistral",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "phi3",
    "gemma2",
    "gemma3_text",
)
AS_PUBLISHED: dict[str, dict[str, Any]] = {
    "gemma2": {"query_pre_attn_scalar": 32},
    "gemma3_text": {
        "query_pre_attn_scalar": 32,
        "num_hidden_layers": 7,
        "sliding_window_pattern": 6,
        "rope_scaling": LINEAR,
    },
}
"""Numbers of all that is published of a family and that a file does not say, where the zoo has
others."""
library: Any = transformers  # untyped


@pytest.fixture(scope="module")
def made(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(the zoo's folder, the file, the folder around it), of a model and a form of its matrices."""
    known: dict[tuple[str, Quant], tuple[Path, Path, Path]] = {}

    def of(name: str, kind: Quant) -> tuple[Path, Path, Path]:
        if (name, kind) not in known:
            place = tmp_path_factory.mktemp(name)
            source = published_rope(zoo(name), place / "source") if name == "llama" else zoo(name)
            if name in AS_PUBLISHED:
                described = animal(name)
                config = {**described.config, **AS_PUBLISHED[name]}
                source = write(replace(described, config=config), place / "source")
            (place / "model").mkdir()
            (place / "around").mkdir()
            said = (
                {f"rope__scaling__{key}": value for key, value in SAID.items()}
                if name == "gemma3_text"
                else {}
            )
            path = write_gguf(source, place / "model" / f"{name}-{kind.name}.gguf", kind, **said)
            prepare(path, place / "around")
            known[name, kind] = source, path, place / "around"
        return known[name, kind]

    return of


def published_rope(source: Path, to: Path) -> Path:
    """Llama 3's scaling with the length for which all of that family is published; the zoo's is
    shorter than its prompts."""
    shutil.copytree(source, to)
    config = json.loads((to / "config.json").read_text())
    config["rope_scaling"]["original_max_position_embeddings"] = 8192
    (to / "config.json").write_text(json.dumps(config))
    return to


@pytest.mark.parametrize("name", MODELS)
def test_what_is_stored_in_full_is_the_model_that_the_file_was_made_from(
    name: str, made: Any
) -> None:
    """Names, layouts, sizes, positions and end tokens."""
    source, _, around = made(name, Quant.F32)
    model = build_on_meta(around)
    found, wanted = Checkpoint(str(around), model), Checkpoint(str(source), model)
    assert not found.missing()
    found.check_shapes()
    for key, weight in model.state_dict().items():
        read = [one.read(key, weight.shape, torch.float32, CPU) for one in (found, wanted)]
        torch.testing.assert_close(
            *read, rtol=0, atol=1e-7 if "norm" in key else 0, msg=key
        )  # Gemma's norms are stored plus 1
    first, second = model_facts(around), model_facts(source)
    same = ("layers", "hidden", "vocab", "context", "kv_groups", "rope_bound", "tied", "parameters")
    assert {key: getattr(first, key) for key in same} == {key: getattr(second, key) for key in same}
    assert set(first.eos_token_ids) & set(second.eos_token_ids)
    ropes = [build_on_meta(folder).config.rope_parameters for folder in (around, source)]
    for key in ropes[1].keys() - {"type"}:  # an older word for rope_type
        value = ropes[1][key]
        assert ropes[0][key] == (
            value if isinstance(value, str | None) else pytest.approx(value)
        ), key


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("qwen3", Quant.Q8_0),
        ("qwen3_moe", Quant.Q4_0),
        ("llama", Quant.Q5_0),
        ("phi3", Quant.F16),
        ("gemma2", Quant.F16),
        ("gemma3_text", Quant.Q8_0),
    ],
)
def test_greedy_tokens_are_those_of_transformers_from_the_same_file(
    name: str, kind: Quant, made: Any
) -> None:
    _, path, around = made(name, kind)
    reference = _of_transformers(path, around)
    tokenizer = library.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    found = Checkpoint(str(around), build_on_meta(around))
    for key, weight in reference.state_dict().items():
        assert torch.equal(found.read(key, weight.shape, torch.float32, CPU), weight), key
    texts = [
        tokenizer(text)["input_ids"]
        for text in ("What is it, and where is he?", "Say more of the sea", "x")
    ]
    driver = Driver(Runner(runner_config(around)))
    running = [driver.start(Prompt(ids)) for ids in texts]
    while waiting := [one for one in running if len(one.output) < TOKENS]:
        driver.step([(one, min(5, len(one.tokens) - one.computed)) for one in waiting])
    for one, ids in zip(running, texts, strict=True):
        wanted = reference.generate(
            torch.tensor([ids]),
            max_new_tokens=TOKENS,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert one.output == wanted[0, len(ids) :].tolist()


def _of_transformers(path: Path, around: Path) -> Any:
    """The model with the weights that transformers reads from the file; for `from_pretrained` it
    asks for accelerate."""
    config = library.AutoConfig.from_pretrained(around)
    del config.quantization_config
    model = library.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    loading: Any = modeling_gguf_pytorch_utils
    read = loading.load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)
    told = model.load_state_dict(read["tensors"], strict=False)
    assert not told.unexpected_keys
    assert set(told.missing_keys) <= {"lm_head.weight"}
    model.tie_weights()
    return model


@pytest.mark.parametrize(
    "kind", [kind for kind in BLOCKS if kind > 1], ids=lambda kind: BLOCKS[kind][0]
)
def test_every_form_of_blocks_is_unpacked_as_the_library_does_it(kind: int, tmp_path: Path) -> None:
    """Of any bytes; in pieces, as large tensors are."""
    _, numbers, size = BLOCKS[kind]
    assert (numbers, size) == gguf.GGML_QUANT_SIZES[Quant(kind)]
    packed = np.random.default_rng(kind).integers(
        0, 60, (6, max(1, 256 // numbers) * size), np.uint8
    )
    writer: Any = gguf.GGUFWriter(tmp_path / "one.gguf", "llama")
    writer.add_tensor("one", packed, raw_dtype=Quant(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = read_gguf(tmp_path / "one.gguf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thespis.gpu_runtime.gguf.tensors.PIECE", 2 * 4 * 256)
        found = floats(tmp_path / "one.gguf", file, "one")
    assert np.array_equal(found, dequantize(packed, Quant(kind)), equal_nan=True)


def test_a_tokenizer_that_lies_beside_it_is_taken(made: Any, tmp_path: Path) -> None:
    source, path, _ = made("qwen3", Quant.Q8_0)
    prepare(path, tmp_path, source)
    assert (tmp_path / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    assert model_facts(tmp_path).quantization == "gguf"


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("llama", {}, "scales its positions by divisors of its own"),
        ("llama_2", {"expert_count": 8}, "a llama with experts"),
        ("qwen3", {"logit_scale": 0.5}, r"states qwen3\.logit_scale=0\.5, which is not read"),
        ("qwen3", {"rope__scaling__type": "su"}, r"scales its positions by 'su'"),
        ("olmo2", {}, "architecture 'olmo2', which is not read; these are: llama,"),
    ],
)
def test_what_would_be_another_model_is_refused(
    name: str, fields: dict[str, Any], words: str, zoo: Zoo, tmp_path: Path
) -> None:
    path = write_gguf(zoo(name), tmp_path / "x.gguf", Quant.F16, **fields)
    with pytest.raises(EngineError, match=words):
        prepare(path, tmp_path)


@pytest.mark.parametrize(
    ("fields", "rope"),
    [
        (
            {"rope__scaling__type": "linear", "rope__scaling__factor": 4.0},
            {"rope_type": "linear", "factor": 4.0},
        ),
        (
            {
                "rope__scaling__type": "yarn",
                "rope__scaling__factor": 4.0,
                "rope__scaling__original_context_length": 32768,
            },
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
        ),
    ],
)
def test_positions_are_scaled_as_the_file_says(
    fields: dict[str, Any], rope: dict[str, Any], zoo: Zoo, tmp_path: Path
) -> None:
    prepare(write_gguf(zoo("qwen2"), tmp_path / "x.gguf", Quant.F16, **fields), tmp_path)
    found = build_on_meta(tmp_path).config.rope_parameters
    assert {key: found[key] for key in rope} == rope
