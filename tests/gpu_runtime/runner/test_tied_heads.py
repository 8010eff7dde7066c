"""A head that is the embedding table is packed, and the table's rows are read from their file: in
memory it is once."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from thespis.gpu_runtime.adapter.file_embedding import FileEmbedding
from thespis.gpu_runtime.layers import linear
from thespis.gpu_runtime.runner.runner import Runner
from thespis.gpu_runtime.weights.files import StoredTensors
from thespis.protocol.errors import EngineError
from thespis.protocol.requests.sampling import SamplingParams

from ...zoo.catalog import Zoo
from ..driving import Driver, Prompt, runner_config

TOKENS = [(7 * i * i + 3) % 250 for i in range(30)]


def scores(runner: Runner) -> torch.Tensor:
    """Log-probabilities of a prompt in two pieces."""
    driver = Driver(runner)
    one = driver.start(Prompt(TOKENS))
    parts = [
        driver.step([(one, count)], SamplingParams(prompt_logprobs=0)).prompt_logprobs
        for count in (17, 13)
    ]
    return torch.tensor([entry.logprob for part in parts for entry in part[0].entries])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["qwen2", "gemma3_text"])
def test_it_says_what_it_said_with_the_table_in_memory(
    family: str, dtype: str, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gemma scales what it looks up."""
    config = runner_config(zoo(family), dtype=dtype)
    plain = Runner(config)
    assert not isinstance(plain._model._embedding, FileEmbedding), "it is too small to gain"
    monkeypatch.setattr(linear, "WORTH_PACKING", 1)
    if not linear._can_pack(getattr(torch, dtype)):
        pytest.skip("this CPU packs no bfloat16")
    packed = Runner(config)
    embedding = packed._model._embedding
    assert isinstance(embedding, FileEmbedding)
    assert embedding._module.weight is None
    torch.testing.assert_close(
        scores(packed), scores(plain), atol=1e-4 if dtype == "float32" else 5e-2, rtol=0
    )


def stored(folder: Path) -> tuple[Path, torch.Tensor]:
    path = folder / "model.safetensors"
    table = torch.randn(50, 24, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    save_file({"first": torch.ones(3), "table": table, "whole": torch.arange(6).view(2, 3)}, path)
    return path, table


def test_rows_are_those_of_the_file(tmp_path: Path) -> None:
    _, table = stored(tmp_path)
    source = StoredTensors(str(tmp_path))
    rows = source.rows("table")
    assert rows is not None
    assert rows.shape == (50, 24)
    assert torch.equal(rows.read([49, 0, 7, 7]), table[[49, 0, 7, 7]])
    assert rows.read([]).shape == (0, 24)
    assert source.rows("first") is None, "no matrix"
    assert source.rows("whole") is None, "no floating numbers"


def test_a_file_in_its_place_changes_nothing_and_one_written_over_it_is_said(
    tmp_path: Path,
) -> None:
    path, table = stored(tmp_path)
    rows = StoredTensors(str(tmp_path)).rows("table")
    assert rows is not None
    shutil.copy(path, tmp_path / "other")
    os.replace(tmp_path / "other", path)
    assert torch.equal(rows.read([3]), table[3:4])
    again = StoredTensors(str(tmp_path)).rows("table")
    assert again is not None
    with path.open("r+b") as file:
        file.truncate(100)
    with pytest.raises(
        EngineError, match=r"model\.safetensors has been written over while the model is served"
    ):
        again.read([3])


def test_what_is_stored_otherwise_stays_in_memory_for_both(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "integers"
    shutil.copytree(zoo("qwen2"), folder)
    for path in folder.glob("*.safetensors"):
        save_file(
            {name: weight.double() for name, weight in load_file(path).items()},
            path,
            {"format": "pt"},
        )
    monkeypatch.setattr(linear, "WORTH_PACKING", 1)
    runner = Runner(runner_config(folder))
    assert not isinstance(runner._model._embedding, FileEmbedding)
    assert len(scores(runner)) == len(TOKENS) - 1
