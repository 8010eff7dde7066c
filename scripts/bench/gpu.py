"""What a device makes of this engine, against its own roofs: `scripts/dev bench gpu [MODEL]`

On a GPU the kernels' tests are run first, on the device. Then: the roofs (bytes per second of a
copy, operations per second of one large product), attention alone by the kernels and by torch, and
a checkpoint: decode steps of 1 and 32 sequences against the first roof, prompts against the second,
and what a first token's time consists of. Without MODEL: a random one of shape S, which is far too
small to reach any roof. `--device cpu` measures the same of a CPU, which tries the script.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from thespis import LLM, SamplingParams
from thespis.frontends.cli.bench.bare import BareRunner
from thespis.gpu_runtime.attention.choice import AttentionKernels, usable_kernels
from thespis.gpu_runtime.attention.metadata import build_metadata
from thespis.gpu_runtime.attention.paged import PagedAttention
from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.layers.how import How
from thespis.gpu_runtime.memory.kv_pool import KvPool
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.facts import KvGroup, KvTable

from . import parser_of
from .model import model_or_random
from .runner import measure_decode

ROOT = Path(__file__).resolve().parents[2]
SHAPES = ((14, 2, 64), (28, 4, 128))
"""Query heads, key heads, width."""
BATCHES, CONTEXTS, PROMPTS = (1, 32), (1400, 8000), (512, 2048)
BLOCK = 16


def main() -> None:
    parser = parser_of("gpu", __doc__, model=True)
    parser.add_argument("--device", default="cuda", help="cuda or cpu (default: %(default)s)")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--rounds", type=int, default=20, help="of each figure; the median counts")
    parser.add_argument("--contexts", type=int, nargs="+", default=CONTEXTS, metavar="TOKENS")
    parser.add_argument("--prompts", type=int, nargs="+", default=PROMPTS, metavar="TOKENS")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("This machine shows no CUDA GPU: --device cpu tries the script.")
    device, dtype = torch.device(given.device), getattr(torch, given.dtype)
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    }
    figures["tests"] = (
        run_tests()
        if device.type == "cuda"
        else "not run: scripts/dev kernels does, in the interpreter"
    )
    roofs = measure_roofs(device, dtype, given.rounds)
    figures["roofs"] = roofs
    kernels = usable_kernels(dtype, device)
    figures["kernels"] = type(kernels).__name__
    with torch.inference_mode():
        figures["attention"] = [
            measure_attention(kernels, device, dtype, shape, works, given.rounds) | {"shape": shape}
            for shape in SHAPES
            for works in (
                *([(context - 1, 1)] * batch for batch in BATCHES for context in given.contexts),
                *([(0, tokens)] for tokens in given.prompts),
            )
        ]
    with model_or_random(given.model) as model:
        figures["model"] = [measure_model(model, given, roofs, native) for native in (True, False)]
        figures["first_token"] = measure_first_token(model, given)
    json.dump(figures, sys.stdout, indent=2, default=str)
    print()


def run_tests() -> str:
    """The last line that pytest says of the kernels on the device."""
    command = [sys.executable, "-P", "-m", "pytest", "-q", "tests/kernels/test_attention.py"]
    environment = {**os.environ, "THESPIS_TEST_DEVICE": "cuda"}
    said = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=540
    ).stdout
    return (said.strip().splitlines() or ["pytest said nothing"])[-1]


def measure_roofs(device: torch.device, dtype: torch.dtype, rounds: int) -> dict[str, float]:
    big = device.type == "cuda"
    source = torch.empty(1 << (31 if big else 27), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = seconds(device, rounds, lambda: target.copy_(source))
    side = 8192 if big else 512
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = seconds(device, rounds, lambda: left @ right)
    return {"gb_per_s": 2 * source.nbytes / copy / 1e9, "tflops": 2 * side**3 / product / 1e12}


def measure_attention(
    kernels: AttentionKernels | None, device: torch.device, dtype: torch.dtype,
    shape: tuple[int, int, int], works: list[tuple[int, int]], rounds: int,
) -> dict[str, Any]:  # fmt: skip
    """One layer of a step, by the kernels and by torch; milliseconds, and what the first come
    to."""
    heads, kv_heads, width = shape
    starts, counts = (np.array(each, dtype=np.int64) for each in zip(*works, strict=True))
    ends = starts + counts
    per = -(-int(ends.max()) // BLOCK)
    group = KvGroup(layers=(0,), kv_heads=kv_heads, key_dim=width, value_dim=width)
    pool = KvPool([KvTable(None, (group,))], [1 + per * len(works)], BLOCK, dtype, device)
    pool.blocks[0].normal_()
    tables = (
        (1 + np.random.default_rng(0).permutation(per * len(works)))
        .astype(np.int32)
        .reshape(len(works), per)
    )
    index = np.concatenate([np.arange(*edge) for edge in zip(starts, ends, strict=True)])
    slots = (
        tables[np.repeat(np.arange(len(works)), counts), index // BLOCK].astype(np.int64) * BLOCK
        + index % BLOCK
    )
    qkv = torch.randn(len(index), heads + 2 * kv_heads, width, device=device).to(dtype)
    kv = qkv[:, heads:].view(len(index), 2, kv_heads, width)
    taken: list[float] = []
    for way in (kernels, None):
        attention = PagedAttention(pool, kernels=way)
        in_place, on_device = attention.in_place[0], attention.on_device[0]
        attention.begin(
            [
                build_metadata(
                    starts,
                    counts,
                    tables,
                    slots,
                    BLOCK,
                    device,
                    in_place=in_place,
                    on_device=on_device,
                )
            ]
        )
        how = How(width**-0.5)
        step = partial(attention, 0, qkv[:, :heads], kv, how)
        taken.append(seconds(device, rounds, step))
    nbytes = int(ends.sum()) * 2 * kv_heads * width * dtype.itemsize
    pairs = int((counts * (starts + ends + 1) / 2).sum())
    return {
        "works": f"{len(works)} of "
        f"{counts[0]} at {starts[0]}", "kernels_ms": taken[0] * 1e3, "torch_ms": taken[1] * 1e3,
        "gb_per_s": nbytes / taken[0] / 1e9, "tflops": 4 * pairs * heads * width / taken[0] / 1e12,
    }  # fmt: skip


def measure_model(
    model: str, given: argparse.Namespace, roofs: dict[str, float], native: bool
) -> dict[str, Any]:
    """Decode steps and prompts of the runner alone, and shares of the roofs: of what cannot be done
    without."""
    more = 2 * given.rounds + 2 * BLOCK  # of an answer, in blocks of which some are not full
    longest = max(*given.contexts, *given.prompts) + more
    facts = model_facts(model)
    engine = EngineConfig(
        model=model, device=given.device, dtype=given.dtype, native_kernels=native,
        max_num_seqs=max(BATCHES),
        max_model_len=min(facts.context, longest), max_num_batched_tokens=max(given.prompts),
    )  # fmt: skip
    runner = BareRunner(engine)
    config = runner.config
    itemsize = getattr(torch, given.dtype).itemsize
    stored = sum(path.stat().st_size for path in Path(model).glob("*.safetensors"))
    weights = stored * itemsize / getattr(torch, facts.dtype).itemsize  # the towers' among them
    token = sum(table.token_bytes(itemsize) for table in facts.tables)
    steps: list[dict[str, Any]] = []
    for context in (each for each in given.contexts if each + more <= config.max_model_len):
        for batch in BATCHES:
            sampling = SamplingParams(temperature=0.0, seed=1)
            found = measure_decode(runner, batch, context, given.rounds, sampling)
            rate = (weights + batch * context * token) / found["ms_median"] / 1e6
            steps.append(found | {"gb_per_s": rate, "of_roof": rate / roofs["gb_per_s"]})
    prompts: list[dict[str, Any]] = []
    for tokens in (each for each in given.prompts if each + more <= config.max_model_len):
        taken = median([runner.prompt_seconds(tokens) for _ in range(1 + given.rounds)][1:])
        rate = 2 * (weights / itemsize) * tokens / taken / 1e12
        prompts.append(
            {"tokens": tokens, "ms": taken * 1e3, "tflops": rate, "of_roof": rate / roofs["tflops"]}
        )
    del runner  # what it had is for the next
    gc.collect()
    torch.cuda.empty_cache()
    return {
        "native_kernels": native,
        "weights_gb": weights / 1e9,
        "decode": steps,
        "prefill": prompts,
    }


def measure_first_token(model: str, given: argparse.Namespace) -> list[dict[str, float]]:
    """Of a text that nothing is known of: the whole way through the engine, and the part of it in
    which the runner computes."""
    found: list[dict[str, float]] = []
    params = SamplingParams(temperature=0.0, max_tokens=1)
    context = model_facts(model).context
    longest = min(context, max(given.prompts) + 2)
    with LLM(
        model,
        device=given.device,
        dtype=given.dtype,
        max_model_len=longest,
        enable_prefix_caching=False,
    ) as llm:
        for tokens in (each for each in given.prompts if each < longest):
            whole: list[float] = []
            for turn in range(1 + given.rounds):
                if turn == 1:  # the first pays for what is made once
                    computed = runner_seconds(llm)
                ids = [(turn * 31 + place * 7) % 256 for place in range(tokens)]
                began = time.perf_counter()
                llm.generate({"prompt_token_ids": ids}, params, use_tqdm=False)
                whole.append(time.perf_counter() - began)
            part = (runner_seconds(llm) - computed) / given.rounds
            found.append(
                {"tokens": tokens, "ms": median(whole[1:]) * 1e3, "of_it_runner_ms": part * 1e3}
            )
    return found


def runner_seconds(llm: LLM) -> float:
    return llm.status().stats["gpu-runner"]["step_seconds"]


def seconds(device: torch.device, rounds: int, work: Callable[[], Any]) -> float:
    """The median of what one call takes on the device, after some that are not counted."""
    taken: list[float] = []
    for _ in range(3 + rounds):
        if device.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return median(taken[3:])


if __name__ == "__main__":
    main()
