"""The scheduler's policy over a real runner, in one process: whatever tables and states a model
has, tokens are transformers'.

Alone, in chunks of five, in company, put back for want of blocks, after the runner's death, and
going on from what others began with.
"""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from thespis.gpu_runtime.memory.kv_pool import KvPool
from thespis.gpu_runtime.memory.state_pool import StatePool
from thespis.protocol.config.room import Room, Shape, bytes_for, divide_room
from thespis.protocol.facts import ModelFacts

from ...actors.scheduler.bench import Bench, config, prepared
from ..adapter.test_recurrent import FAMILIES
from ..driving import BLOCK
from ..in_process import InProcess
from ..tiny import OUTPUT, TEXT, facts_of, generated, make, prompt_of, runner_for

tf: Any = transformers
GEMMA = {
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    "sliding_window": 9,
}
KINDS: dict[str, dict[str, Any]] = {
    "Qwen2": {},
    "Gemma3": {**GEMMA, "tie_word_embeddings": False},
    "Qwen3_5": FAMILIES["Qwen3_5"],
    "Lfm3": FAMILIES["Lfm3"],
    "Mamba": FAMILIES["Mamba"],
    "Mamba2": FAMILIES["Mamba2"],
    "FalconH1": FAMILIES["FalconH1"],
}


class World:
    """One model: itself, its facts, and what it says to some prompts that begin alike."""

    def __init__(self, family: str, folder: Path) -> None:
        kind = getattr(tf, f"{family}TextConfig", None) or getattr(tf, f"{family}Config")
        self.model = make(
            getattr(tf, f"{family}ForCausalLM"),
            kind(**{**TEXT, "n_groups": 2, **KINDS[family]}),
            folder,
        )
        self.facts: ModelFacts = facts_of(folder)
        self.runner = runner_for(self.facts)
        common = prompt_of(21, 9)
        self.prompts = [common + prompt_of(length, length) for length in (3, 8, 14, 25)] + [
            prompt_of(6, 1)
        ]
        self.wanted = [generated(self.model, prompt) for prompt in self.prompts]
        assert all(len(set(answer)) > 1 for answer in self.wanted)

    def bench(self, spare: int = 60, states: int = 12, **changes: Any) -> Bench:
        """`spare`: blocks of every table, less than the runner has."""
        room = Room((spare,) * len(self.facts.tables), states if self.facts.recurrent else 0)
        windows = tuple(table.window for table in self.facts.tables)
        settings = config(
            block_size=BLOCK, windows=windows, room=room, max_model_len=512, **changes
        )
        return Bench(settings, model=partial(InProcess, self.runner, {}))

    def ask(self, bench: Bench, which: list[int], mark: str = "", **sampling: Any) -> None:
        for index in which:
            bench.submit(
                prepared(
                    f"{mark}{index}",
                    self.prompts[index],
                    max_tokens=OUTPUT,
                    temperature=0.0,
                    ignore_eos=True,
                    **sampling,
                )
            )

    def check(self, bench: Bench, which: list[int], mark: str = "") -> None:
        for index in which:
            assert bench.tokens[f"{mark}{index}", 0] == self.wanted[index]


@pytest.fixture(scope="module", params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(request.param, tmp_path_factory.mktemp(request.param))


ALL = [0, 1, 2, 3, 4]


@pytest.mark.parametrize("budget", [64, 5])
def test_in_company(world: World, budget: int) -> None:
    bench = world.bench(max_batched_tokens=budget)
    world.ask(bench, ALL)
    bench.run()
    world.check(bench, ALL)
    bench.assert_empty()


def test_blocks_and_states_are_one_sum(world: World) -> None:
    """What the runner keeps is counted to the byte, and of a given number of bytes never more is
    taken."""
    facts, shape = world.facts, Shape(BLOCK, context=512, sequences=6, step=64)
    given = bytes_for(facts, 4, shape) * 3 // 2
    room = divide_room(given, facts, 4, shape)
    cpu = torch.device("cpu")
    layers = KvPool(facts.tables, room.blocks, BLOCK, torch.float32, cpu).blocks.values()
    states = StatePool(facts.recurrent, room.states, torch.float32, cpu).nbytes
    blocks = sum({layer.data_ptr(): layer.nbytes for layer in layers}.values())
    assert bool(states) == bool(facts.recurrent)
    assert blocks + states == room.nbytes(facts, 4, BLOCK) <= given


def test_put_back_and_computed_again(world: World) -> None:
    """Too few blocks for all, or, where a model has none, a runner that dies."""
    bench = world.bench(spare=16, states=4, max_batched_tokens=16)
    world.ask(bench, ALL)
    for _ in range(9):
        bench.plan()
        bench.answer()
        bench.check_blocks()
    if not world.facts.tables:
        bench.lose_runner()
        bench.join_runner()
    bench.run()
    world.check(bench, ALL)
    assert bench.policy.tally.preemptions
    bench.assert_empty()


def test_after_the_runner_s_death(world: World) -> None:
    bench = world.bench(max_batched_tokens=12)
    world.ask(bench, ALL)
    for _ in range(10):
        bench.plan()
        bench.answer()
    bench.plan()
    bench.lose_runner()
    bench.join_runner()
    bench.run()
    world.check(bench, ALL)
    bench.assert_empty()


def test_going_on_from_what_was_computed(world: World) -> None:
    """The same prompts again, another that begins alike, and several choices of one."""
    bench = world.bench(max_batched_tokens=32)
    world.ask(bench, [0, 1])
    bench.run()
    tally = bench.policy.tally
    taken, before = tally.snapshots_taken, tally.prefix_hit_tokens
    assert bool(taken) == bool(world.facts.recurrent)
    world.ask(bench, [0, 1, 2], "again ", n=2)
    bench.run()
    world.check(bench, [0, 1], "")
    world.check(bench, [0, 1, 2], "again ")
    for index in (0, 1, 2):
        assert bench.tokens[f"again {index}", 1] == world.wanted[index]
    hit = tally.prefix_hit_tokens - before
    if len(world.facts.tables) == 1 and world.facts.tables[0].window is None and not taken:
        assert hit >= 2 * len(world.prompts[0]) - 2, "but for the last token, of two choices"
    assert hit >= sum((len(world.prompts[index]) - 1) // BLOCK * BLOCK for index in (0, 1)), (
        "both, to their last blocks"
    )
    assert tally.snapshot_hits >= (4 if world.facts.recurrent else 0)
    bench.assert_empty()
