"""The checkpoints themselves: transformers alone loads each, with nothing missing or left over, and
it has something to say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from thespis.gpu_runtime.facts.model import model_facts

from .catalog import NAMES, Zoo, animal, build
from .reference import reference_for

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.mark.parametrize("name", [name for name in NAMES if animal(name).native])
def test_transformers_loads_it_whole_and_it_speaks(name: str, zoo: Zoo) -> None:
    folder, described = zoo(name), animal(name)
    reference = reference_for(name, folder)
    model, told = reference.model, dict(reference.told)
    assert set(told.pop("unexpected_keys")) <= {*described.extra, *described.twice}
    assert not any(told.values()), told
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([tokenizer.encode("What is it? Say more.", add_special_tokens=False)])
    assert tokenizer.decode(ids[0]).strip() == "What is it? Say more."
    made = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=16,
        do_sample=False,
        eos_token_id=None,
    )
    assert len(set(made[0, ids.shape[1] :].tolist())) >= 4


def test_the_same_name_gives_the_same_bytes(tmp_path: Path, zoo: Zoo) -> None:
    first, second = zoo("qwen2_5_omni"), build("qwen2_5_omni", tmp_path / "again")
    assert {file.name: file.read_bytes() for file in first.iterdir()} == {
        file.name: file.read_bytes() for file in second.iterdir()
    }


def test_shards_are_listed_and_what_is_tied_is_stored_once(zoo: Zoo) -> None:
    index = json.loads((zoo("qwen2_vl") / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) == 2
    assert "model.embed_tokens.weight" in index["weight_map"]
    assert "lm_head.weight" not in index["weight_map"]


@pytest.mark.parametrize(
    ("name", "bound"), [("phi3", 256), ("internvl", 32768), ("llama", None), ("qwen2_vl", None)]
)
def test_lengths_that_turn_keys_are_told(name: str, bound: int | None, zoo: Zoo) -> None:
    assert model_facts(zoo(name)).rope_bound == bound
