"""Two ranks say what one says: the zoo's checkpoints, each rank a thread with a runner of its own,
all with the same plans."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.ranks import gang
from thespis.gpu_runtime.ranks.cut import equal_part
from thespis.gpu_runtime.ranks.gang import ALONE, Gang, Ranks
from thespis.gpu_runtime.runner.runner import UNREAD, Runner
from thespis.protocol.config.division import divide
from thespis.protocol.config.engine import EngineConfig, configure
from thespis.protocol.config.roles import RunnerConfig
from thespis.protocol.errors import EngineError
from thespis.protocol.memory.blobs import BlobError, BlobRef
from thespis.protocol.requests.pooling import PoolingParams

from ...zoo.catalog import Zoo
from ...zoo.vectors import ANIMALS
from ...zoo.writing import write
from ..driving import BLOCK, Driver, Prompt

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
]
FAMILIES = (
    ("qwen3", 2),  # dense, by transformers' modules
    ("llama", 4),  # by the fused decoder; four heads over two, so that two ranks share one
    ("mixtral", 2),  # experts
    ("qwen3_5", 2),  # recurrent layers between those that attend
    ("gemma3_text", 2),  # windows
)
PROMPTS = [[5, 9, 12, 7, 30, 21, 8, 40, 11, 3, 17], [6, 7, 8], list(range(4, 44))]
TOKENS = 10


def config_for(folder: Path, size: int, **changes: Any) -> RunnerConfig:
    settings = {"device": "cpu", "runner_threads": 1, "block_size": BLOCK, "kv_cache_gb": 0.01}
    given = {"model": str(folder), "dtype": "float32", **settings, **changes}
    facts = model_facts(folder, given.get("runner", "auto"), size)
    runner = divide(configure(EngineConfig, given), facts).roles["gpu-runner"]
    assert isinstance(runner, RunnerConfig)
    return runner


def of_all_ranks(size: int, meeting: Path, play: Callable[[Ranks], Any]) -> list[Any]:
    def one(rank: int) -> Any:
        return play(Gang(rank, size, meeting, torch.device("cpu")))

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def says(config: RunnerConfig, ranks: Ranks = ALONE) -> list[list[int]]:
    driver = Driver(Runner(config, ranks=ranks))
    running = [driver.start(Prompt(ids)) for ids in PROMPTS]
    while waiting := [one for one in running if len(one.output) < TOKENS]:
        driver.step([(one, min(7, len(one.tokens) - one.computed)) for one in waiting])
    return [one.output for one in running]


@pytest.mark.parametrize(("name", "size"), FAMILIES)
def test_greedy_tokens_of_several_ranks_are_those_of_one(
    name: str, size: int, zoo: Zoo, tmp_path: Path
) -> None:
    folder = zoo(name)
    alone = says(config_for(folder, 1))
    config = config_for(folder, size)
    assert {group.kv_heads for group in config.model.kv_groups} == {1}
    said = of_all_ranks(size, tmp_path / "meeting", lambda ranks: says(config, ranks))
    assert said == [alone] * size


def test_vectors_are_those_of_one(tmp_path: Path) -> None:
    folder = write(ANIMALS["qwen3_embedding"](), tmp_path / "embedder")

    def vectors(config: RunnerConfig, ranks: Ranks = ALONE) -> torch.Tensor:
        driver = Driver(Runner(config, ranks=ranks))
        asked = [driver.start(Prompt(ids, pooling=PoolingParams())) for ids in PROMPTS]
        made = driver.step([(one, len(one.tokens)) for one in asked]).pooled
        return torch.stack(
            [torch.frombuffer(bytearray(one.data), dtype=torch.float32) for one in made]
        )

    alone, config = vectors(config_for(folder, 1)), config_for(folder, 2)
    for found in of_all_ranks(2, tmp_path / "meeting", lambda ranks: vectors(config, ranks)):
        assert torch.allclose(found, alone, atol=1e-5)


def test_what_one_rank_cannot_read_none_computes(zoo: Zoo, tmp_path: Path) -> None:
    config = config_for(zoo("llava"), 2)
    placeholder = config.model.placeholders["image"].embed_token_id
    rows = torch.zeros(3, config.model.embed_width)
    seen = Prompt([5, *[placeholder] * 3, 6], embeds=[(1, rows)])

    def play(ranks: Ranks) -> tuple[list[str], list[int]]:
        driver = Driver(Runner(config, ranks=ranks))
        pair = [driver.start(seen), driver.start(Prompt(PROMPTS[0]))]
        if not ranks.is_first:
            driver.read = lost  # type: ignore[method-assign]
        result = driver.step([(one, len(one.tokens)) for one in pair])
        return [fault.text for fault in result.faults], [one.seq for one in result.sampled]

    for faults, sampled in of_all_ranks(2, tmp_path / "meeting", play):
        assert (faults, sampled) == ([UNREAD], [2])


def lost(ref: BlobRef) -> memoryview:
    raise BlobError("the segment is gone")


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("llama", 3, "tensor_parallel_size=3 does not divide the 4 attention heads of the model"),
        ("lfm2", 2, "transformers has no plan by which Lfm2Model could be divided"),
        ("qwen3_moe", 2, r"does not divide layers\.0\..*experts.* into parts of whole 8s"),
    ],
)
def test_what_cannot_be_divided_is_refused(name: str, size: int, words: str, zoo: Zoo) -> None:
    with pytest.raises(EngineError, match=words):
        model_facts(zoo(name), ranks=size)


def test_a_rank_that_has_ended_does_not_hold_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gang, "GRACE_SECONDS", 0.0)

    def play(ranks: Ranks) -> None:
        if ranks.is_first:
            with pytest.raises(RuntimeError):
                ranks.sum(torch.ones(4096))

    of_all_ranks(2, tmp_path / "meeting", play)


def test_each_rank_reads_its_part_of_a_weight_alone() -> None:
    """Views of the mapped file, of which no other page is touched."""
    weight = torch.arange(48.0).view(8, 6)
    parts = [equal_part(weight.shape, 0, rank, 2).of(weight) for rank in range(2)]
    assert all(part.untyped_storage().data_ptr() == weight.data_ptr() for part in parts)
    assert torch.equal(torch.cat(parts), weight)
    halves = [equal_part(weight.shape, 0, rank, 2, halves=2).of(weight) for rank in range(2)]
    assert halves[1][:, 0].tolist() == [12.0, 18.0, 36.0, 42.0]
