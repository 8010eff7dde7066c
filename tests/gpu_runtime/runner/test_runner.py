"""The runner's other promises: one decoder like the other, logprobs, replay, memory that costs
nothing until it is used."""

import copy
import json
import re
import shutil
from pathlib import Path

import msgspec
import pytest
import torch

from thespis.gpu_runtime.layers.rowwise import Rowwise
from thespis.gpu_runtime.memory.kv_pool import KvPool
from thespis.gpu_runtime.runner.runner import Runner
from thespis.protocol.edges.gpu_runner_to_scheduler import TokenLogprobs
from thespis.protocol.facts import KvGroup, KvTable
from thespis.protocol.requests.sampling import SamplingParams

from ...helpers.checkpoints import FAMILIES, Checkpoints, Family
from ...helpers.reference import Reference, reference_for
from ..driving import Driver, Prompt, runner_config

TOKENS = [(7 * i * i + 3) % 250 for i in range(45)]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_fused_decoder_equals_transformers(family: Family, checkpoints: Checkpoints) -> None:
    """Log-probabilities of a whole prompt, prefilled in three pieces, within 1e-4."""
    config = runner_config(checkpoints(family))
    found = []
    for fused in (True, False):
        driver = Driver(Runner(config, fused))
        one = driver.start(Prompt(TOKENS))
        entries: list[TokenLogprobs] = []
        for count in (20, 1, 24):
            result = driver.step([(one, count)], SamplingParams(prompt_logprobs=0))
            entries += [entry for part in result.prompt_logprobs for entry in part.entries]
        found.append(torch.tensor([entry.logprob for entry in entries]))
    assert len(found[0]) == len(TOKENS) - 1
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "transformers"])
def test_sliding_windows_cut_prefill_and_decode_alike(
    fused: bool, tmp_path: Path, checkpoints: Checkpoints
) -> None:
    """A Mistral has the weights of a Llama and a window."""
    folder = tmp_path / "windowed"
    shutil.copytree(checkpoints("llava"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"].update(
        model_type="mistral", sliding_window=6, architectures=["MistralModel"]
    )
    (folder / "config.json").write_text(json.dumps(config))
    answer = Reference(folder).model.generate(
        torch.tensor([TOKENS]), max_new_tokens=8, do_sample=False
    )[0, len(TOKENS) :]
    plain = reference_for(checkpoints("llava")).model.generate(
        torch.tensor([TOKENS]), max_new_tokens=8, do_sample=False
    )
    assert answer.tolist() != plain[0, len(TOKENS) :].tolist()
    driver = Driver(Runner(runner_config(folder), fused))
    one, other = driver.start(Prompt(TOKENS)), driver.start(Prompt(TOKENS))
    for first, second in ((20, 4), (1, 4), (24, 37)):
        driver.step([(one, first), (other, second)])
    while len(one.output) < len(answer):
        driver.step([(one, 1), (other, 1)])
    assert one.output == other.output == answer.tolist()


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "transformers"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs_near_float32(
    dtype: str, fused: bool, checkpoints: Checkpoints
) -> None:
    config = runner_config(checkpoints("qwen_vl"))
    found = []
    for kind in ("float32", dtype):
        driver = Driver(Runner(msgspec.structs.replace(config, dtype=kind), fused))
        one = driver.start(Prompt(TOKENS))
        parts = [
            driver.step([(one, count)], SamplingParams(prompt_logprobs=0)).prompt_logprobs
            for count in (20, 25)
        ]
        assert len(driver.finish(one, 3)) == 3
        found.append(torch.tensor([entry.logprob for part in parts for entry in part[0].entries]))
    error = (found[0] - found[1]).abs().mean()
    assert error < 0.05 * found[0].abs().mean()


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "transformers"])
def test_bfloat16_is_as_near_to_the_truth_as_transformers_in_bfloat16(
    fused: bool, checkpoints: Checkpoints
) -> None:
    """Of a whole prompt's log-probabilities: a mean error of at most 1.5 times its, and nine of ten
    best tokens its own."""
    folder = checkpoints("qwen_vl")
    model = copy.deepcopy(reference_for(folder).model)
    with torch.inference_mode():
        truth = model(torch.tensor([TOKENS])).logits[0].log_softmax(-1)[:-1]
        theirs = (
            model.to(torch.bfloat16)(torch.tensor([TOKENS])).logits[0].float().log_softmax(-1)[:-1]
        )
    driver = Driver(Runner(runner_config(folder, dtype="bfloat16"), fused))
    one = driver.start(Prompt(TOKENS))
    params = SamplingParams(prompt_logprobs=1)
    parts = [
        part for count in (20, 25) for part in driver.step([(one, count)], params).prompt_logprobs
    ]
    entries = [entry for part in parts for entry in part.entries]
    asked = torch.tensor(TOKENS[1:])[:, None]
    ours = torch.tensor([entry.logprob for entry in entries])
    error, their_error = (
        (found - truth.gather(1, asked)[:, 0]).abs().mean()
        for found in (ours, theirs.gather(1, asked)[:, 0])
    )
    assert 0 < error <= 1.5 * their_error
    agree = [
        entry.top[0][0] == best
        for entry, best in zip(entries, theirs.argmax(-1).tolist(), strict=True)
    ]
    assert sum(agree) >= 0.9 * len(agree)


def test_prompt_logprobs_are_transformers(checkpoints: Checkpoints) -> None:
    folder = checkpoints("qwen_vl")
    with torch.inference_mode():
        table = reference_for(folder).model(torch.tensor([TOKENS])).logits[0].log_softmax(-1)
    driver = Driver(Runner(runner_config(folder)))
    one = driver.start(Prompt(TOKENS))
    params = SamplingParams(prompt_logprobs=2, logprobs=1, temperature=0.0)
    parts = [
        part for count in (17, 28) for part in driver.step([(one, count)], params).prompt_logprobs
    ]
    assert [part.start for part in parts] == [1, 18]
    entries = [entry for part in parts for entry in part.entries]
    for place, entry in enumerate(entries, 1):
        row = table[place - 1]
        assert entry.token_id == TOKENS[place]
        assert entry.logprob == pytest.approx(float(row[TOKENS[place]]), abs=1e-3)
        assert entry.rank == int((row > row[TOKENS[place]]).sum()) + 1
        assert [token for token, _ in entry.top] == row.topk(2).indices.tolist()


def test_the_last_layer_computes_what_is_asked_for(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a chunk its last token; of a prompt whose scores are wanted, every token."""
    rows: list[int] = []
    gated = Rowwise.gated

    def counted(self: Rowwise, gate_up: torch.Tensor) -> torch.Tensor:
        rows.append(len(gate_up))
        return gated(self, gate_up)

    monkeypatch.setattr(Rowwise, "gated", counted)
    runner = Runner(runner_config(checkpoints("llava"), native_kernels=False))
    found = []
    for scores in (None, 0):
        driver = Driver(runner)
        one, other = driver.start(Prompt(TOKENS)), driver.start(Prompt(TOKENS[::-1]))
        rows.clear()
        driver.step(
            [(one, 20), (other, 1)],
            SamplingParams(temperature=0.0, logprobs=0, prompt_logprobs=scores),
        )
        assert rows == [21] * (len(rows) - 1) + [2 if scores is None else 21]
        result = driver.step([(one, 25), (other, 44)])
        found.append(
            [
                (entry.token_id, entry.logprobs and entry.logprobs.logprob)
                for entry in result.sampled
            ]
        )
    assert [token for token, _ in found[0]] == [token for token, _ in found[1]]
    assert [score for _, score in found[0]] == pytest.approx(
        [score for _, score in found[1]], abs=1e-5
    )


def test_a_sampled_request_goes_on_after_preemption_as_if_nothing_had_been(
    checkpoints: Checkpoints,
) -> None:
    """Random numbers, penalties and min_tokens are replayed from the output."""
    driver = Driver(Runner(runner_config(checkpoints("llava"))))
    params = SamplingParams(
        temperature=1.2, seed=5, top_p=0.9, frequency_penalty=0.5, repetition_penalty=1.3
    )
    wanted = driver.finish(driver.start(Prompt(TOKENS)), 16, sampling=params)
    one = driver.start(Prompt(TOKENS))
    driver.finish(one, 7, sampling=params)
    assert driver.finish(driver.preempt(one), 16, sampling=params) == wanted
    assert len(set(wanted)) > 5


def test_choices_of_one_request_differ(checkpoints: Checkpoints) -> None:
    driver = Driver(Runner(runner_config(checkpoints("llava"))))
    params = SamplingParams(temperature=1.0, seed=5)
    outputs = {
        tuple(driver.finish(driver.start(Prompt(TOKENS)), 6, sampling=params, choice=choice))
        for choice in range(4)
    }
    assert len(outputs) == 4


def test_more_sequences_than_rows_find_room(checkpoints: Checkpoints) -> None:
    driver = Driver(Runner(runner_config(checkpoints("llava"), max_num_seqs=2)))
    several = [driver.start(Prompt(TOKENS[: 5 + i])) for i in range(5)]
    result = driver.step([(one, len(one.tokens)) for one in several])
    assert len(result.sampled) == 5
    assert not result.faults


def test_without_a_number_of_blocks_the_runner_finds_one(checkpoints: Checkpoints) -> None:
    config = msgspec.structs.replace(runner_config(checkpoints("llava")), room=None)
    assert Runner(config).room.blocks[0] * config.block_size >= config.max_model_len


def test_unused_cache_costs_no_memory() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = resident()
    group = KvGroup(layers=(0, 1, 2, 3), kv_heads=2, key_dim=64, value_dim=64)
    pool = KvPool([KvTable(None, (group,))], [16385], 16, torch.float32, torch.device("cpu"))
    assert sum(layer.nbytes for layer in pool.blocks.values()) > 1 << 30
    pool.slots[3].index_copy_(0, torch.tensor([5]), torch.ones(1, 2, 2, 64))
    assert resident() - before < 16 << 20


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(),
    reason="needs a system with large pages",
)
def test_the_cache_asks_for_large_pages() -> None:
    group = KvGroup(layers=(0,), kv_heads=2, key_dim=64, value_dim=64)
    pool = KvPool([KvTable(None, (group,))], [1025], 16, torch.float32, torch.device("cpu"))
    mappings = re.findall(
        r"^(\w+)-(\w+) .*?^VmFlags: (.*?)$",
        Path("/proc/self/smaps").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    at = pool.blocks[0].data_ptr()
    assert [
        "hg" in flags.split()
        for first, end, flags in mappings
        if int(first, 16) <= at < int(end, 16)
    ] == [True]
