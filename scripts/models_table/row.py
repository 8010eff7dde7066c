"""One row of the table: a real engine under pressure, each answer compared with transformers'."""

import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from thespis import LLM, RequestOutput, SamplingParams
from thespis.gpu_runtime.facts.model import model_facts
from thespis.protocol.errors import EngineError, RequestError
from thespis.protocol.facts import ModelFacts
from thespis.tests.zoo.reference import Reference

from .questions import LEAST, MORE, Solved, solve_all
from .ready_made import ready_made

CLOSE = 1e-4
"""How far log-probabilities of the first token may lie from transformers'."""
TOP = 20
BLOCK = 4
"""Tokens: an answer crosses many, so that those that run outgrow the cache."""
SLOTS = 17
"""For states of recurrent layers: those of eight sequences, and as many to go on from."""
STEPS = 150
"""In about so many the prompts of a batch are computed."""
WHOLE = 96
"""Tokens: no item is longer; in some models one must be computed in one step."""
AGAIN = 2
"""Times that a batch is asked once more where none of it was preempted: who is in whose way depends
on arrivals."""
COLUMNS = (
    *(
        "text",
        "one picture",
        "several",
        "clip",
        "sound",
        "embeddings in",
        "chunked",
        "preempted",
        "prefix hit",
    ),
    "killed and resumed",
)
EQUAL, NOT_ASKED = "equal", "-"
TOO_LATE = "the batch was over before the kill"


class Row(msgspec.Struct):
    """What was found of one checkpoint."""

    name: str
    model_type: str
    cells: dict[str, str] = {}
    """By column: `equal`, `-` where it does not apply, else what was wrong."""
    reason: str = ""
    """Why it does not run: the engine's own sentence."""
    requests: int = 0
    distance: float = 0.0
    """Of the first token's log-probabilities, at most."""
    seconds: float = 0.0


class Table(msgspec.Struct):
    """What is kept between runs."""

    transformers: str
    torch: str
    rows: list[Row] = []


def make_row(name: str, folder: Path, reference: Reference) -> Row:
    """Ask everything. What the engine refuses or answers otherwise becomes part of the row, never
    an exception."""
    began = time.monotonic()
    row = Row(name, reference.model.config.model_type)
    try:
        facts = model_facts(folder)
        solved = solve_all(reference, _longest(facts))
        row.requests = len(solved)
        assert row.requests >= LEAST
        with LLM(str(folder), **_pressure(facts, solved)) as llm:
            _Examiner(llm, facts, reference, solved, row).ask_everything()
    except (EngineError, RequestError) as error:
        row.reason = str(error)
    row.seconds = round(time.monotonic() - began, 1)
    return row


def _longest(facts: ModelFacts) -> int:
    """Tokens of the first answers. States take half of the memory at most, so that beside large
    ones a sequence has room for as many tokens as its slots would hold: longer ones outgrow it."""
    return MORE + (2 * facts.state_bytes(4) // facts.kv_bytes(4) if facts.tables else 0)


def _pressure(facts: ModelFacts, solved: Sequence[Solved]) -> dict[str, Any]:
    """So little room that prompts are cut, running requests are put back, and beginnings are found
    again."""
    lengths = [len(one.answer.prompt_token_ids) + one.question.tokens for one in solved]
    needed = [-(-length // BLOCK) + 1 for length in lengths]
    blocks = max(max(needed) + 2, sum(needed) // 6)
    return {
        "dtype": "float32",
        "device": "cpu",
        "block_size": BLOCK,
        "enable_prompt_embeds": True,
        "enable_mm_embeds": True,
        "kv_cache_gb": ((blocks + 0.5) * BLOCK * facts.kv_bytes(4) + SLOTS * facts.state_bytes(4))
        / (1 << 30),
        "max_model_len": max(lengths) + 1,
        "max_num_batched_tokens": max(_whole(facts, lengths), min(256, sum(lengths) // STEPS)),
        "max_num_seqs": 16,
        "runner_threads": 1,
        "encoder_threads": 1,
    }


def _whole(facts: ModelFacts, lengths: Sequence[int]) -> int:
    """Tokens of a step that holds what must stay whole."""
    if not facts.span_layers:
        return 24
    return WHOLE if facts.span_scope == "item" else max(lengths)


def _greedy(one: Solved) -> SamplingParams:
    return SamplingParams(
        temperature=0, max_tokens=one.question.tokens, ignore_eos=True, logprobs=TOP
    )


class _Examiner:
    def __init__(
        self, llm: LLM, facts: ModelFacts, reference: Reference, solved: Sequence[Solved], row: Row
    ) -> None:
        self.llm = llm
        self.facts = facts
        self.reference = reference
        self.solved = solved
        self.row = row

    def ask_everything(self) -> None:
        before = self._counters()
        first = self._wrong(self._ask(self.solved), self.solved)
        for _ in range(AGAIN):
            if self._grown(before)["preemptions"] or first or not self.facts.tables:
                break
            self.llm.reset_prefix_cache()
            first = self._wrong(self._ask(self.solved), self.solved)
        grown = self._grown(before)
        self.row.cells = dict.fromkeys(COLUMNS, NOT_ASKED)
        for place, one in enumerate(self.solved):
            column = one.question.column
            if self.row.cells[column] in (NOT_ASKED, EQUAL):
                self.row.cells[column] = first.get(place, EQUAL)
        worst = next(iter(first.values()), EQUAL)
        cuts_items = self.reference.animal.takes and not self.facts.span_modalities
        chunks = grown["split_spans"] if cuts_items else grown["steps"]
        if self.facts.span_scope != "prompt":
            self.row.cells["chunked"] = worst if chunks else "no prompt was cut"
        if (
            self.facts.tables
        ):  # what has nothing but states holds all that it will need from its first step on
            self.row.cells["preempted"] = worst if grown["preemptions"] else "none was preempted"
        self.row.cells["prefix hit"] = self._prefix()
        self.row.cells["embeddings in"] = self._embeddings()
        for _ in range(1 + AGAIN):
            self.row.cells["killed and resumed"] = self._killed()
            if self.row.cells["killed and resumed"] != TOO_LATE:
                break

    def _ask(self, solved: Sequence[Solved]) -> list[RequestOutput]:
        conversations = [one.question.messages(self.reference.animal, bare=False) for one in solved]
        return self.llm.chat(conversations, [_greedy(one) for one in solved], use_tqdm=False)

    def _wrong(self, outputs: Sequence[RequestOutput], solved: Sequence[Solved]) -> dict[int, str]:
        """By place, what differs."""
        found = {}
        for place, (output, one) in enumerate(zip(outputs, solved, strict=True)):
            if output.prompt_token_ids != one.answer.prompt_token_ids:
                found[place] = "other prompt tokens"
            elif (text := self._difference(output, one)) is not None:
                found[place] = text
        return found

    def _difference(self, output: RequestOutput, one: Solved) -> str | None:
        said, safe = output.outputs[0], max(1, one.answer.safe)
        assert said.logprobs is not None
        apart = max(
            abs(entry.logprob - one.answer.first[token].item())
            for token, entry in said.logprobs[0].items()
        )
        self.row.distance = max(self.row.distance, apart)
        if apart > CLOSE:
            return f"first logits {apart:.1e} apart"
        same = [
            a == b for a, b in zip(said.token_ids[:safe], one.answer.token_ids[:safe], strict=True)
        ]
        return None if all(same) else f"other tokens from {same.index(False)} on"

    def _prefix(self) -> str:
        """A request of each column, twice: the second finds the beginning of the first."""
        each = list({one.question.column: one for one in self.solved}.values())
        hit = 0
        for one in each:
            for output in (*self._ask([one]), *self._ask([one])):
                if wrong := self._wrong([output], [one]):
                    return wrong[0]
                hit += output.num_cached_tokens
        return EQUAL if hit else "no beginning was found"

    def _embeddings(self) -> str:
        prompts = ready_made(self.reference, self.solved, whole=not self.facts.per_layer_width)
        if not prompts:
            return NOT_ASKED
        asked = [_greedy(one) for _, one in prompts]
        try:
            outputs = self.llm.generate([prompt for prompt, _ in prompts], asked, use_tqdm=False)
        except RequestError as error:
            return str(error)
        for output, (_, one) in zip(outputs, prompts, strict=True):
            if (text := self._difference(output, one)) is not None:
                return text
        return EQUAL

    def _killed(self) -> str:
        """SIGKILL of the runner in the middle of a batch."""
        self.llm.reset_prefix_cache()
        said: list[RequestOutput] = []
        failed: list[Exception] = []

        def ask() -> None:
            try:
                said.extend(self._ask(self.solved))
            except RequestError as error:
                failed.append(error)

        status = self.llm.status()
        asking = threading.Thread(target=ask)
        asking.start()
        goal = status.stats["scheduler"]["generated_tokens"] + len(self.solved)
        while asking.is_alive() and self._counters()["generated_tokens"] < goal:
            time.sleep(0.02)
        alive = asking.is_alive()
        os.kill(status.pids["gpu-runner"], signal.SIGKILL)
        asking.join()
        if failed:
            return str(failed[0])
        if not alive or self.llm.status().restarts.get("gpu-runner", 0) <= status.restarts.get(
            "gpu-runner", 0
        ):
            return TOO_LATE
        return next(iter(self._wrong(said, self.solved).values()), EQUAL)

    def _counters(self) -> Mapping[str, float]:
        return self.llm.status().stats["scheduler"]

    def _grown(self, before: Mapping[str, float]) -> dict[str, float]:
        return {name: value - before.get(name, 0) for name, value in self._counters().items()}
