"""An engine that is told to be deterministic: an answer has the same bits alone and in any company,
however it was cut, shared, preempted, lost and resumed, in every precision; also of experts and of
recurrent layers, whose arithmetic goes by rows."""

import random
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.runner.runner import Runner
from thespis.protocol.checkpoint.folder import demo_model
from thespis.protocol.config.room import Room
from thespis.protocol.edges.client_to_scheduler import ChoiceSoFar
from thespis.protocol.requests.prepared import Prepared

from ...actors.scheduler.bench import config, item, prepared
from ...zoo.catalog import Zoo
from ..driving import BLOCK, runner_config
from ..in_process import Heard, InProcess, Listening

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning"),
]
TOKENS = 8
TILE = 8
LONGEST = 256
SLOTS = 12


class Ground:
    """One model: its runner, some prompts that begin alike, and what each says alone to an empty
    cache."""

    def __init__(self, folder: Path, dtype: str, **more: Any) -> None:
        self.facts = model_facts(folder)
        settings = runner_config(
            folder, deterministic=True, dtype=dtype, max_model_len=LONGEST, **more
        )
        room = Room((4000,) * len(self.facts.tables), SLOTS if self.facts.recurrent else 0)
        self.runner = Runner(msgspec.structs.replace(settings, room=room, max_num_seqs=SLOTS))
        dice = torch.Generator().manual_seed(3)
        self.rows = {
            "picture": torch.randn(11, self.facts.embed_width, generator=dice).numpy().tobytes()
        }
        text = torch.randint(10, min(400, self.facts.vocab), (90,), generator=dice).tolist()
        self.prompts = [
            text[:1],
            text[:8],
            text[:21],
            text[:40],
            text[:40] + text[70:77],
            text[:90],
            text[30:75],
        ]
        self.alone: Heard = {}
        for index in range(len(self.prompts)):
            bench = self.bench(512)
            bench.submit(self.request(index))
            bench.run()
            self.alone |= bench.heard
        assert len({tuple(token for token, _ in said) for said in self.alone.values()}) > 3

    def bench(self, budget: int, blocks: int = 1000, max_num_seqs: int = 8) -> Listening:
        settings = config(
            block_size=BLOCK,
            tile=TILE,
            windows=tuple(table.window for table in self.facts.tables),
            room=Room((blocks,) * len(self.facts.tables), SLOTS if self.facts.recurrent else 0),
            max_model_len=LONGEST,
            max_batched_tokens=budget,
            max_num_seqs=max_num_seqs,
        )
        bench = Listening(settings, model=partial(InProcess, self.runner, self.rows))
        bench.width = self.facts.embed_width
        return bench

    def request(self, index: int, mark: str = "") -> Prepared:
        """Each sees a picture where it is long enough; half of them are sampled, with two
        choices."""
        ids = self.prompts[index]
        items = (item("picture", 5, 11),) if len(ids) > 30 and self.facts.placeholders else ()
        how: dict[str, Any] = (
            {"temperature": 0.0}
            if index % 2
            else {"temperature": 0.9, "seed": index, "n": 2, "top_p": 0.9}
        )
        return prepared(
            f"{mark}{index}", ids, items, max_tokens=TOKENS, ignore_eos=True, logprobs=5, **how
        )

    def check(self, bench: Listening, request: Prepared) -> None:
        """To the last bit, of all its choices."""
        name = request.id.rpartition(" ")[2]
        for choice in range(request.sampling.n):
            assert bench.heard[request.id, choice] == self.alone[name, choice], (request.id, choice)


_ground = cache(Ground)


@pytest.fixture(params=["float32", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["bundled", "qwen3_moe", "qwen3_next"])
def ground(request: pytest.FixtureRequest, zoo: Zoo, dtype: str) -> Ground:
    return _ground(demo_model() if request.param == "bundled" else zoo(request.param), dtype)


def test_in_company_in_chunks_and_behind_hits(ground: Ground) -> None:
    bench = ground.bench(TILE + 11)
    for mark in ("", "again "):
        asked = [ground.request(index, mark) for index in range(len(ground.prompts))]
        bench.submit(*asked)
        bench.run()
        for request in asked:
            ground.check(bench, request)
    assert bench.policy.tally.prefix_hit_tokens >= TILE
    assert bench.policy.tally.max_sequences_in_step > 4


def test_preempted(ground: Ground) -> None:
    """With room for little more than the longest of them. How steps fall depends on how long they
    take, and with it which room is too small."""
    preemptions = 0
    for blocks in (32, 28, 26):
        bench = ground.bench(32, blocks=blocks)
        asked = [ground.request(index) for index in range(len(ground.prompts))]
        bench.submit(*asked)
        bench.run()
        for request in asked:
            ground.check(bench, request)
        preemptions += bench.policy.tally.preemptions
        if preemptions:
            break
    assert preemptions


@pytest.mark.parametrize("native_kernels", [True, False])
def test_weights_in_eight_bits(native_kernels: bool) -> None:
    ground = Ground(demo_model(), "float32", quantization="int8", native_kernels=native_kernels)
    test_in_company_in_chunks_and_behind_hits(ground)
    test_preempted(ground)


def test_whatever_is_done_to_them(ground: Ground) -> None:
    """Another storm each time; `seed` brings one back."""
    seed = random.randrange(1 << 16)
    try:
        storm(ground, seed)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}") from error


def storm(ground: Ground, seed: int) -> None:
    """Requests come while others run, the runner dies, the cache is emptied, blocks run out."""
    dice = random.Random(seed)
    bench = ground.bench(dice.choice((19, 32, 100)), dice.randrange(32, 80), dice.randrange(2, 9))
    asked = []
    for number in range(8):
        asked.append(ground.request(dice.randrange(len(ground.prompts)), f"{number} "))
        bench.submit(asked[-1])
        moves: list[Callable[[], object]] = [
            bench.plan,
            bench.answer,
            partial(_lose, bench),
            bench.policy.batch.forget_prefixes,
        ]
        for move in dice.choices(moves, (12, 10, 1, 1), k=dice.randrange(30)):
            move()
            bench.deliver()
    bench.run()
    for request in asked:
        ground.check(bench, request)
    bench.assert_empty()


def _lose(bench: Listening) -> None:
    if not bench.cornered():
        bench.lose_runner()
        bench.join_runner()


def test_resumed_by_a_client_that_had_some_of_it(ground: Ground) -> None:
    """Its tokens come again one by one, beside another that shares its beginning."""
    for index, had in ((3, 1), (5, 5)):
        request = ground.request(index)
        said = ground.alone[request.id, 0]
        bench = ground.bench(32)
        bench.submit(ground.request(4, "other "))
        first = ChoiceSoFar(tuple(token for token, _ in said[:had]), 0, False)
        bench.policy.submit(request, 0.0, (first,))
        bench.run()
        assert bench.heard[request.id, 0] == said[had:]
