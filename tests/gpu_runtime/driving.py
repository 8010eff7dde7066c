"""A runner driven by hand: prompts with embeddings and positions, blocks in any order, plans as the
scheduler makes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import torch

from thespis.gpu_runtime.models.encoder import Encoder, load_encoder
from thespis.gpu_runtime.runner.runner import Runner
from thespis.protocol.config.division import divide
from thespis.protocol.config.engine import EngineConfig, configure
from thespis.protocol.config.roles import RunnerConfig
from thespis.protocol.edges.gpu_runner_to_scheduler import StepResult
from thespis.protocol.edges.scheduler_to_gpu_runner import Embed, NewSequence, StepPlan, Work
from thespis.protocol.memory.blobs import BlobError, BlobRef
from thespis.protocol.requests.pooling import PoolingParams
from thespis.protocol.requests.sampling import SamplingParams

from ..helpers.environment import DEVICE
from ..helpers.facts import facts_of
from ..helpers.reference import NO_MEDIA, Media, Reference, rope_owner

BLOCK = 4
"""Small, so that short contexts have several blocks."""
GREEDY = SamplingParams(temperature=0.0)


def runner_config(folder: Path, **changes: Any) -> RunnerConfig:
    settings = {
        "model": str(folder),
        "device": DEVICE,
        "runner_threads": 1,
        "block_size": BLOCK,
        "kv_cache_gb": 0.01,
    }
    config = divide(configure(EngineConfig, {**settings, **changes}), facts_of(folder)).roles[
        "gpu-runner"
    ]
    assert isinstance(config, RunnerConfig)
    return config


@dataclass
class Prompt:
    token_ids: list[int]
    positions: bytes | None = None
    delta: int = 0
    embeds: list[tuple[int, torch.Tensor]] = field(default_factory=list)
    """(first prompt position, rows [n, embed_width])."""
    pooling: PoolingParams | None = None


def make_prompt(
    reference: Reference, encoder: Encoder, text: str, media: Media = NO_MEDIA
) -> Prompt:
    """Token ids and positions as transformers makes them, embeddings from our encoder."""
    inputs = reference._inputs(text, media)
    ids = inputs["input_ids"]
    prompt = Prompt(ids[0].tolist())
    for modality, names in FEATURES.items():
        if names[0] in inputs:
            token = getattr(reference.model.config, f"{modality}_token_id")
            where = [i for i, t in enumerate(prompt.token_ids) if t == token]
            [rows] = encoder.encode(
                modality, [{name: inputs[name] for name in names if name in inputs}], [len(where)]
            )
            _place(prompt, where, rows)
    owner = rope_owner(reference.model)
    if owner is not None and any(media):
        prompt.positions, prompt.delta = _rotary(owner, inputs)
    return prompt


FEATURES = {
    "image": ("pixel_values", "image_grid_thw"),
    "video": ("pixel_values_videos", "video_grid_thw"),
    "audio": ("input_features", "feature_attention_mask"),
}


def _place(prompt: Prompt, where: list[int], rows: torch.Tensor) -> None:
    """Rows to placeholder positions, one entry per run of neighbours."""
    assert len(where) == len(rows)
    first = 0
    for i in range(1, len(where) + 1):
        if i == len(where) or where[i] != where[i - 1] + 1:
            prompt.embeds.append((where[first], rows[first:i]))
            first = i


def _rotary(model: Any, inputs: dict[str, Any]) -> tuple[bytes, int]:
    names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "video_grid_thw", "attention_mask")
    given = {name: inputs[name] for name in names if name in inputs}
    if "feature_attention_mask" in inputs:
        given["audio_seqlens"] = inputs["feature_attention_mask"].sum(-1)
    if model.config.model_type == "qwen2_5_omni_thinker":
        given.pop("mm_token_type_ids", None)
        if "video_grid_thw" in inputs:
            given["second_per_grids"] = inputs.get(
                "video_second_per_grid", torch.ones(len(inputs["video_grid_thw"]))
            )
    positions, delta = model.get_rope_index(**given)
    return positions[:, 0].to(torch.int32).numpy().astype("<i4").tobytes(), int(
        delta.reshape(-1)[0]
    )


@dataclass
class Running:
    """One sequence as the driver sees it."""

    seq: int
    prompt: Prompt
    tokens: list[int]
    """Prompt and output."""
    computed: int
    blocks: list[int]
    told: bool = False
    state: int = 0

    @property
    def output(self) -> list[int]:
        return self.tokens[len(self.prompt.token_ids) :]


class Driver:
    """Hands out shuffled blocks and builds plans; `steps` counts what they were made of."""

    def __init__(self, runner: Runner, seed: int = 0) -> None:
        runner.reset()
        self.runner = runner
        self.random = Random(seed)
        self._tables = len(runner.room.blocks)
        self.free = list(range(1, min(runner.room.blocks, default=1)))
        """Of every table the same."""
        self.random.shuffle(self.free)
        self.states = list(range(1, runner.room.states))
        self._seqs = 0
        self._steps = 0
        self._dropped: list[int] = []
        self._blobs: dict[str, bytes] = {}
        self.split_spans = 0
        self.largest_batch = 0

    def start(
        self,
        prompt: Prompt,
        output: Sequence[int] = (),
        blocks: Sequence[int] = (),
        computed: int = 0,
    ) -> Running:
        """`blocks` hold the first `computed` tokens already."""
        self._seqs += 1
        return Running(self._seqs, prompt, [*prompt.token_ids, *output], computed, list(blocks))

    def preempt(self, running: Running) -> Running:
        """Drop it and begin again with the output so far, in other blocks."""
        self.drop(running)
        return self.start(running.prompt, running.output)

    def drop(self, running: Running) -> None:
        self._dropped.append(running.seq)
        self.free[:0] = running.blocks
        if running.state:
            self.states.insert(0, running.state)

    def _state(self, running: Running) -> int:
        if self.states:
            running.state = self.states.pop()
        return running.state

    def step(
        self,
        works: Sequence[tuple[Running, int]],
        sampling: SamplingParams | Callable[[Running], SamplingParams] = GREEDY,
        choice: int = 0,
        eos: tuple[int, ...] = (),
    ) -> StepResult:
        """Compute `count` tokens of each sequence; a token is sampled where the last known one is
        among them."""
        new, plan, embeds = [], [], []
        for running, count in works:
            end = running.computed + count
            fresh = []
            while self._tables and len(running.blocks) * BLOCK < end:
                fresh.append(self.free.pop())
                running.blocks.append(fresh[-1])
            if not running.told:
                params = sampling if isinstance(sampling, SamplingParams) else sampling(running)
                prompt = running.prompt
                new.append(
                    NewSequence(
                        running.seq, tuple(running.tokens), len(prompt.token_ids), prompt.positions,
                        prompt.delta,
                        params, choice, eos, (tuple(running.blocks),) * self._tables,
                        self._state(running),
                        pooling=prompt.pooling,
                    )
                )  # fmt: skip
                running.told, fresh = True, []
            plan.append(
                Work(
                    running.seq,
                    running.computed,
                    count,
                    end == len(running.tokens),
                    (tuple(fresh),) * self._tables,
                )
            )
            embeds += self._embeds(running, end)
        self._steps += 1
        dropped, self._dropped = tuple(self._dropped), []
        result = self.runner.execute(
            StepPlan(self._steps, tuple(new), tuple(plan), tuple(embeds), dropped), self.read
        )
        self.largest_batch = max(self.largest_batch, len(plan))
        sampled = {one.seq: one.token_id for one in result.sampled}
        for running, count in works:
            running.computed += count
            if running.seq in sampled:
                running.tokens.append(sampled[running.seq])
        return result

    def _embeds(self, running: Running, end: int) -> list[Embed]:
        out = []
        for number, (start, rows) in enumerate(running.prompt.embeds):
            first, last = max(start, running.computed), min(start + len(rows), end)
            if first < last:
                self.split_spans += last - first < len(rows)
                name = f"{id(running.prompt)}-{number}"
                self._blobs[name] = rows.contiguous().numpy().tobytes()
                out.append(
                    Embed(
                        running.seq,
                        first,
                        last - first,
                        first - start,
                        BlobRef(name, 0, "float32", tuple(rows.shape)),
                    )
                )
        return out

    def read(self, ref: BlobRef) -> memoryview:
        if ref.segment not in self._blobs:
            raise BlobError("the segment is gone")
        return memoryview(self._blobs[ref.segment])

    def finish(self, running: Running, tokens: int, **how: Any) -> list[int]:
        """Prefill in one piece and decode alone until it has `tokens` of output."""
        while len(running.output) < tokens:
            self.step([(running, len(running.tokens) - running.computed)], **how)
        return running.output


def encoder_for(folder: Path) -> Encoder:
    return load_encoder(facts_of(folder), "float32", DEVICE, 1)
