"""Published forms with recurrent layers under the scheduler's policy, over a real runner in one
process: whatever is done to a request, its tokens are those of transformers' `generate()` for it
alone.

Texts, pictures, clips and prompts shorter than a convolution; in company, in chunks of odd sizes;
put back in the middle of a prefill and when slots or blocks run out; after the runner's death;
going on from snapshots behind media; ended half-way.
"""

import random
from collections import Counter
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.runner.runner import Runner
from thespis.protocol.config.room import Room
from thespis.protocol.requests.prepared import Prepared

from ..actors.scheduler.bench import config, item, prepared
from ..gpu_runtime.driving import BLOCK, Prompt, runner_config
from ..gpu_runtime.in_process import InProcess, WideBench
from .catalog import Zoo
from .composing import Asked, ask_all
from .reference import Reference, reference_for

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]
TOKENS = 10
LONGEST = 1024
SLOTS = 24
SEEING = ("qwen3_5", "qwen3_5_moe", "lfm2_vl", "lfm3_vl", "minicpmv4_6")
SPEAKING = ("qwen3_next", "mamba", "mamba2", "falcon_h1")


class World:
    """One checkpoint: its runner, and what transformers says to some prompts, several of which
    begin alike."""

    def __init__(self, name: str, folder: Path) -> None:
        self.facts = model_facts(folder)
        reference = reference_for(name, folder)
        asked = ask_all(folder, reference, TOKENS)
        longest = max((one.prompt for one in asked), key=lambda prompt: len(prompt.token_ids))
        self.asked = [*asked, *(self._plain(reference, longest, count) for count in (1, 2, 3))]
        self.asked += [self._plain(reference, asked[0].prompt, count) for count in (9, 21)]
        assert all(answer.safe >= 2 for _, answer in self.asked), "draw another"
        blocks = 2 + sum(len(prompt.token_ids) + TOKENS for prompt, _ in self.asked) // BLOCK
        self.blocks = blocks
        room = Room((4 * blocks,) * len(self.facts.tables), SLOTS)
        settings = runner_config(folder, max_model_len=LONGEST)
        self.runner = Runner(msgspec.structs.replace(settings, room=room, max_num_seqs=SLOTS))
        self.rows = {
            self._key(rows): rows.numpy().tobytes()
            for prompt, _ in self.asked
            for _, rows in prompt.embeds
        }

    @staticmethod
    def _plain(reference: Reference, like: Prompt, count: int) -> Asked:
        """The tokens that a prompt begins with, as text alone."""
        ids = torch.tensor([like.token_ids[:count]])
        return Asked(
            Prompt(ids[0].tolist()),
            reference.continued({"input_ids": ids, "attention_mask": ids * 0 + 1}, TOKENS),
        )

    @staticmethod
    def _key(rows: torch.Tensor) -> str:
        return sha256(rows.numpy().tobytes()).hexdigest()

    @property
    def least(self) -> int:
        """Blocks with which the longest prompt runs alone."""
        return 2 + max(len(prompt.token_ids) + TOKENS for prompt, _ in self.asked) // BLOCK

    def bench(
        self, budget: int, blocks: int = 0, states: int = SLOTS, max_num_seqs: int = 8
    ) -> WideBench:
        room = Room((blocks or 2 * self.blocks,) * len(self.facts.tables), states)
        settings = config(
            block_size=BLOCK,
            windows=tuple(table.window for table in self.facts.tables),
            room=room,
            max_model_len=LONGEST,
            max_batched_tokens=budget,
            max_num_seqs=max_num_seqs,
        )
        bench = WideBench(settings, model=partial(InProcess, self.runner, self.rows))
        bench.width = self.facts.embed_width
        return bench

    def request(self, index: int, mark: str = "", n: int = 1) -> Prepared:
        prompt = self.asked[index].prompt
        items = tuple(item(self._key(rows), start, len(rows)) for start, rows in prompt.embeds)
        greedy: dict[str, Any] = {
            "max_tokens": TOKENS,
            "temperature": 0.0,
            "ignore_eos": True,
            "n": n,
        }
        made = prepared(f"{mark}{index}", prompt.token_ids, items, **greedy)
        return msgspec.structs.replace(
            made, positions=prompt.positions, position_delta=prompt.delta
        )

    def ask(self, bench: WideBench, mark: str = "", n: int = 1) -> None:
        bench.submit(*(self.request(index, mark, n) for index in range(len(self.asked))))

    def check(self, bench: WideBench, mark: str = "", n: int = 1) -> None:
        for index in range(len(self.asked)):
            for choice in range(n):
                self.compare(index, bench.tokens[f"{mark}{index}", choice], whole=True)

    def compare(self, index: int, tokens: list[int], whole: bool) -> None:
        answer = self.asked[index].answer
        assert len(tokens) == TOKENS or not whole
        count = min(answer.safe, len(tokens))
        assert tokens[:count] == answer.token_ids[:count], f"prompt {index}"


@cache
def _world(name: str, folder: Path) -> World:
    return World(name, folder)


@pytest.fixture(params=[*SEEING, *SPEAKING])
def world(request: pytest.FixtureRequest, zoo: Zoo) -> World:
    return _world(request.param, zoo(request.param))


def test_in_company_and_in_chunks_of_five(world: World) -> None:
    """And going on from snapshots that were taken on the way, with several choices."""
    bench = world.bench(5)
    world.ask(bench)
    bench.run()
    world.check(bench)
    tally = bench.policy.tally
    assert tally.snapshots_taken
    hits, tokens = tally.snapshot_hits, tally.prefix_hit_tokens
    world.ask(bench, "again ", n=2)
    bench.run()
    world.check(bench, "again ", n=2)
    assert tally.snapshot_hits > hits
    longest = max(len(prompt.token_ids) for prompt, _ in world.asked)
    assert tally.prefix_hit_tokens - tokens >= (longest - 1) // BLOCK * BLOCK
    bench.assert_empty()


def test_whatever_is_done_to_them(world: World) -> None:
    """Another storm each time, with more sequences that may run than slots in most; `seed` brings
    one back."""
    seed = random.randrange(1 << 16)
    try:
        storm(world, seed)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}") from error


def storm(world: World, seed: int) -> Counter[str]:
    """Requests come while steps are planned and answered, some are ended, the runner dies, the
    cache is emptied."""
    dice = random.Random(seed)
    blocks = world.least + dice.randrange(world.least)
    bench = world.bench(
        dice.choice((1, 2, 3, 7, 13, 64)), blocks, dice.randrange(2, 9), dice.randrange(1, 9)
    )
    alive: dict[str, tuple[int, int]] = {}
    for number in range(10):
        index, n = dice.randrange(len(world.asked)), dice.choice((1, 1, 2, 3))
        request = world.request(index, f"{number} ", n)
        bench.submit(request)
        alive[request.id] = index, n
        for move in dice.choices(
            ("plan", "answer", "end", "lose", "forget"), (12, 10, 1, 1, 1), k=dice.randrange(40)
        ):
            match move:
                case "plan":
                    bench.plan()
                case "answer":
                    bench.answer()
                case "end":
                    gone = dice.choice([*alive, request.id])
                    alive.pop(gone, None)
                    bench.policy.end([gone])
                case "lose" if not bench.cornered():
                    bench.lose_runner()
                    bench.join_runner()
                case "forget":
                    bench.policy.batch.forget_prefixes()
            bench.deliver()
            bench.check_blocks()
    bench.run()
    for id, (index, n) in alive.items():
        assert id in bench.closed
        for choice in range(n):
            world.compare(index, bench.tokens[id, choice], whole=True)
    bench.assert_empty()
    tally = bench.policy.tally
    return Counter(
        preempted=tally.preemptions, hits=tally.snapshot_hits, taken=tally.snapshots_taken
    )
