"""The runner: executes step plans strictly in order. What belongs to one sequence fails alone; the
step goes on."""

import logging
import math
import time
from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ...protocol.config.roles import RunnerConfig
from ...protocol.config.room import Room
from ...protocol.edges.gpu_runner_to_scheduler import SequenceFault, StepResult
from ...protocol.edges.scheduler_to_gpu_runner import NewSequence, StepPlan, Work
from ...protocol.requests.pooling import PoolingParams
from ...protocol.requests.thinking import Thought
from ..adapter.step import StepInputs
from ..attention.choice import usable_kernels
from ..attention.metadata import CPU_CACHE_BYTES, AttentionMetadata, build_metadata
from ..attention.paged import PagedAttention
from ..layers.int8 import Int8
from ..layers.product import usable_product
from ..memory.kv_pool import KvPool
from ..memory.pieces import Ints
from ..memory.room import room_that_fits
from ..memory.state_pool import RecurrentStep, StatePool
from ..models.device import keep_freed_memory, prepare_device
from ..models.fused import FusedDecoder
from ..models.language_model import load_language_model
from ..native.library import allow_kernels
from ..pooling.dense import load_dense
from ..pooling.pooling import Pooling
from ..ranks.gang import ALONE, Ranks
from ..sampling.guiding import Guides
from ..sampling.sampler import SamplerState
from ..sampling.unrunnable import Unrunnable
from ..steps.batch import Batch, build_batch
from ..steps.overlay import EmbeddingRows, Read, find_spans, lay_over, place, read_rows
from ..steps.repeated import RepeatedDecode, recorder_for
from ..steps.sequences import RunnerSequence, SequenceTable
from .answers import DEAD_END, Answers, Made

log = logging.getLogger(__name__)

Entries = list[tuple[Work, RunnerSequence]]
CANNOT_RUN = "The sequence cannot be run"
UNREAD = "An embedding of the request could not be read."
NOT_FINITE = "The model computed a number that is not finite for this request."


class Runner:
    """A language model, its KV cache and the sequences in it."""

    def __init__(
        self,
        config: RunnerConfig,
        fused: bool = True,
        before_layer: Callable[[], None] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """Raises EngineError where the checkpoint cannot be read or the KV cache does not fit.

        On a CPU `before_layer` is called by the attention of every layer, on the thread that
        computes.

        `fused=False` runs transformers' own modules also for the architectures that have a fused
        decoder.

        `ranks`: those that compute the model together, of which this is one; all get the same
        plans.
        """
        self._ranks = ranks
        self._device = prepare_device(config.device, config.threads.alone, config.deterministic)
        self._apart = config.deterministic
        """Each work is a step of its own in all but name, so that no number depends on how many
        rows there are."""
        self._dtype: torch.dtype = getattr(torch, config.dtype)
        self._block_size = config.block_size
        self._facts = config.model
        self._beyond = {facts.embed_token_id for facts in self._facts.placeholders.values()}
        """Ids that a prompt may hold although the vocabulary may not."""
        self._row_ids = torch.tensor(sorted(self._beyond), dtype=torch.int64, device=self._device)
        """Those that stand for items' rows."""
        with allow_kernels(config.native_kernels):
            kernels = usable_kernels(self._dtype, self._device)
            hold = Int8(usable_product()) if config.quantization == "int8" else None
            whole = self._facts, self._dtype, self._device
            self._model = load_language_model(*whole, fused, kernels, hold, ranks)
        self._dense = self._load_dense()
        self.room = config.room or _common(room_that_fits(config, self._dtype), ranks)
        blocks = self.room.blocks
        place = self._dtype, self._device
        self._pool = KvPool(self._facts.tables, blocks, config.block_size, *place)
        kinds = self._facts.recurrent
        self._states = StatePool(kinds, self.room.states, *place) if kinds else None
        is_cpu = self._device.type == "cpu"
        self._at_once = self._pool.blocks_in(CPU_CACHE_BYTES if is_cpu else None)
        """By table: blocks that decode rows gather at once."""
        self._attention = PagedAttention(
            self._pool, self._facts.span_layers, self._facts.span_windows, kernels
        )
        if is_cpu:
            self._attention.before_layer = before_layer
        self._guides = Guides(self._facts)
        # One step ahead, a sequence may be computed one token past its end.
        self._table = SequenceTable(
            config.max_num_seqs, config.max_model_len + 2, config.block_size, blocks
        )
        self._answers = Answers(self._model, self._table, self._facts.vocab, self._device, ranks)
        self._repeated = None if config.eager else self._recording(config.max_num_seqs)
        if is_cpu:
            keep_freed_memory()

    def _load_dense(self) -> list[torch.nn.Module]:
        """Layers behind the pooling."""
        dense = () if self._facts.pooler is None else self._facts.pooler.dense
        return [load_dense(self._facts.path, layer, self._device) for layer in dense]

    @property
    def sequences(self) -> int:
        """Known, and not dropped."""
        return len(self._table)

    def use_for_long_chunks(self, threads: int) -> None:
        """From now on, on a CPU, for the attention of what is worth more threads than torch has."""
        self._attention.threads_of_long_chunks = threads

    def reset(self) -> None:
        """Forget every sequence."""
        self._table.clear()

    @torch.inference_mode()
    def execute(self, plan: StepPlan, read: Read) -> StepResult:
        """Compute one step. `read` gives a blob's bytes or raises BlobError."""
        began = time.perf_counter()
        faults: dict[int, str] = {}
        for seq in plan.drop:
            self._table.drop(seq)
        for new in plan.new:
            try:
                self._add(new)
            except Unrunnable as error:
                faults[new.seq] = f"{CANNOT_RUN}: {error}"
            except ValueError:  # of a library, in words that are not for a caller
                log.exception("sequence %d", new.seq)
                faults[new.seq] = f"{CANNOT_RUN}."
        embeds, unread = read_rows(
            plan.embeds, read, self._facts.embed_width, self._dtype, self._device
        )
        faults |= dict.fromkeys(self._unread_by_any(plan, unread), UNREAD)
        entries = self._spread(self._admit(plan.work, faults))
        made = Made()
        for together in filter(None, [[one] for one in entries] if self._apart else [entries]):
            self._compute(together, embeds, made, faults)
        for seq, text in faults.items():
            known = self._table.get(seq)
            if known is not None:
                known.fault = text
        told = tuple(SequenceFault(seq, text, text == DEAD_END) for seq, text in faults.items())
        seconds = time.perf_counter() - began
        return StepResult(
            plan.step, tuple(made.sampled), tuple(made.prompt), told, seconds, tuple(made.pooled)
        )

    def _compute(
        self, entries: Entries, embeds: EmbeddingRows, made: Made, faults: dict[int, str]
    ) -> None:
        """Some works of a step, in one flat batch."""
        narrow = self._model.decoder.narrows and not any(
            self._answers.takes_all(sequence) for _, sequence in entries
        )
        batch = build_batch(entries, self._table, self._block_size, narrow)
        hidden = self._forward(batch, embeds)
        self._fault_non_finite(batch, hidden, faults)
        self._answers.add(batch, hidden, faults, made)
        self._keep_states(batch, faults)

    def _unread_by_any(self, plan: StepPlan, unread: Collection[int]) -> list[int]:
        """Of the sequences whose embeddings are in the plan: what one rank cannot read, none
        computes."""
        asked = sorted({embed.seq for embed in plan.embeds})
        if not asked:
            return []
        read = self._ranks.least([int(seq not in unread) for seq in asked])
        return [seq for seq, there in zip(asked, read, strict=True) if not there]

    # before the model

    def _add(self, new: NewSequence) -> None:
        known = self._facts.known
        outside = {token for token in new.token_ids if not 0 <= token < known} - self._beyond
        if not new.token_ids or outside:
            raise Unrunnable(f"its token ids are not all between 0 and {known - 1}.")
        if not 0 < new.prompt_tokens <= len(new.token_ids):
            raise Unrunnable("it has no prompt.")
        planes = None
        if new.positions is not None:
            flat = np.frombuffer(new.positions, dtype="<i4")
            if len(flat) != self._facts.position_planes * new.prompt_tokens:
                raise Unrunnable("its rotary positions are not as many as its prompt tokens have.")
            planes = flat.reshape(-1, new.prompt_tokens)
        sampler = self._sampler(new)
        pooling = None if new.pooling is None else self._pooling(new.pooling)
        delta = new.position_delta if planes is not None else 0
        state = self._open_state(new)
        self._copy_beginning(new)
        sequence = RunnerSequence(new.prompt_tokens, planes, delta, sampler, state, pooling)
        self._table.add(new.seq, sequence, new.token_ids, new.block_tables)

    def _sampler(self, new: NewSequence) -> SamplerState:
        prompt, output = new.token_ids[: new.prompt_tokens], new.token_ids[new.prompt_tokens :]
        sayable = [token for token in prompt if token < self._facts.vocab]
        guide, thinking = new.sampling.guide, new.sampling.thinking
        thought = None
        # Without a budget or a guide thinking is a text like others.
        bound = guide is not None or (thinking is not None and thinking.budget is not None)
        if thinking is not None and thinking.known and bound:
            thought = Thought(thinking, output)
        said = output if thought is None else thought.said
        matcher = None if guide is None else self._guides.start(guide, said, new.eos_token_ids)
        return SamplerState(
            new.sampling, new.choice, sayable, output, new.eos_token_ids, self._facts.vocab,
            self._device, new.seq, matcher, thought,
        )  # fmt: skip

    def _pooling(self, params: PoolingParams) -> Pooling:
        if self._facts.pooler is None:
            raise Unrunnable("the model makes no vectors.")
        return Pooling(params, self._facts.pooler, self._dense)

    def _open_state(self, new: NewSequence) -> int:
        """The slot of its states, which hold those of the beginning that it goes on from."""
        if self._states is None:
            return 0
        if not (0 < new.state < self._states.slots and 0 <= new.state_from < self._states.slots):
            raise Unrunnable("it has no place for its states.")
        if new.state_from:
            self._states.copy(new.state_from, new.state)
        return new.state

    def _copy_beginning(self, new: NewSequence) -> None:
        """Of its first block that is not shared whole."""
        if not new.copied:
            return
        blocks = self.room.blocks
        among = len(blocks) == 1 and all(
            0 < block < blocks[0] for block in (new.copy_from, new.copy_to)
        )
        if not (among and 0 < new.copied < self._block_size):
            raise Unrunnable("it begins with a copy of no block.")
        self._pool.copy(0, new.copy_from, new.copy_to, new.copied)

    def _admit(self, works: Sequence[Work], faults: dict[int, str]) -> Entries:
        """The works that can be computed. The others are faults: said once per work, never a
        crash."""
        entries: Entries = []
        for work in works:
            sequence = self._table.get(work.seq)
            if sequence is None:
                faults.setdefault(work.seq, "The runner does not know the sequence.")
                continue
            text = faults.get(work.seq, self._refusal(work, sequence))
            if text is None:
                entries.append((work, sequence))
            else:
                faults[work.seq] = text
        return entries

    def _spread(self, entries: Entries) -> Entries:
        """Each position of a draft as a work of its own, with what is guessed behind it: rows that
        decode, as any."""
        if not any(work.draft for work, _ in entries):
            return entries
        spread: Entries = []
        for work, sequence in entries:
            self._table.guess(sequence.row, work.draft)
            last, guesses = work.start + work.count - 1, len(work.draft)
            for behind in range(guesses, -1, -1) if guesses else ():
                draft = work.draft[guesses - behind :]
                spread.append((Work(work.seq, last - behind, 1, True, draft=draft), sequence))
            if not guesses:
                spread.append((work, sequence))
        return spread

    def _refusal(self, work: Work, sequence: RunnerSequence) -> str | None:
        """Appends the work's blocks; why it cannot be computed, or None."""
        if sequence.fault is not None:
            return sequence.fault
        row, end = sequence.row, work.start + work.count
        if work.new_blocks:
            try:
                self._table.append_blocks(row, work.new_blocks)
            except Unrunnable as error:
                return f"{CANNOT_RUN}: {error}"
        guesses = len(work.draft)
        lacking = end - guesses - int(self._table.lengths[row])
        if work.start < 0 or work.count <= guesses or lacking > 0 or (work.sample and lacking):
            return "The plan asks for tokens that the sequence does not have."
        if end > self._table.capacities[row] * self._block_size:
            return "The plan gives the sequence too few blocks."
        return None

    # the model

    def _forward(self, batch: Batch, embeds: EmbeddingRows) -> torch.Tensor:
        """Hidden states [rows, hidden], as the batch has them."""
        placed = place(batch, embeds)
        if self._repeated is not None and not placed and self._repeated.takes(batch):
            return self._repeated(batch, self._blocks(batch))
        self._attention.begin(self._metadata(batch, find_spans(batch, self._facts)))
        tokens = torch.from_numpy(batch.tokens).to(self._device)
        looked_up = self._model.looked_up(tokens)
        x = self._model.embed(looked_up)
        added = torch.isin(tokens, self._row_ids) if self._facts.rows_added else None
        items = lay_over(x, placed, added)
        positions = torch.from_numpy(batch.positions).to(self._device)
        recurrent = None if self._states is None else self._recurrent(batch, self._states)
        narrow = batch.hidden[-1] < batch.offsets[-1]
        wanted = torch.from_numpy(batch.offsets[1:] - 1).to(self._device) if narrow else None
        inputs = StepInputs(looked_up, x, positions, batch.lengths, items, recurrent, wanted)
        return self._model.decoder(inputs, self._attention)

    def _recording(self, rows: int) -> RepeatedDecode | None:
        """Where a device records, and nothing of a decode step looks at numbers on the host: our
        own decoder and kernels."""
        record = recorder_for(self._device)
        ours = isinstance(self._model.decoder, FusedDecoder) and all(self._attention.on_device)
        if record is None or not ours:
            return None
        windows = [table.window for table in self._pool.tables]
        blocks = self._table.block_tables.shape[2]
        return RepeatedDecode(self._decode, windows, rows, blocks, self._device, record)

    def _decode(
        self, tokens: torch.Tensor, positions: torch.Tensor, metadata: Sequence[AttentionMetadata]
    ) -> torch.Tensor:
        """Hidden states [rows, hidden] of rows of one token, by what is on the device alone."""
        self._attention.begin(metadata)
        looked_up = self._model.looked_up(tokens)
        nothing = np.zeros(0, dtype=np.int64)
        inputs = StepInputs(looked_up, self._model.embed(looked_up), positions, nothing)
        return self._model.decoder(inputs, self._attention)

    def _recurrent(self, batch: Batch, pool: StatePool) -> RecurrentStep:
        slots = torch.tensor([sequence.state for sequence in batch.sequences], device=self._device)
        ends = np.array([sequence.prompt_tokens for sequence in batch.sequences], dtype=np.int64)
        prompts = np.clip(ends - batch.starts, 0, batch.counts)
        return RecurrentStep(pool, slots, batch.offsets, batch.starts == 0, prompts)

    def _keep_states(self, batch: Batch, faults: dict[int, str]) -> None:
        """Copy the states that others may go on from."""
        slots = 0 if self._states is None else self._states.slots
        for work, sequence in zip(batch.works, batch.sequences, strict=True):
            if self._states is not None and 0 < work.snapshot < slots and work.seq not in faults:
                self._states.copy(sequence.state, work.snapshot)

    def _metadata(self, batch: Batch, spans: Ints | None) -> list[AttentionMetadata]:
        """Of each table."""
        blocks = self._blocks(batch)
        size, device = self._block_size, self._device
        return [
            build_metadata(
                batch.starts, batch.counts, blocks[number], batch.slot_mapping[number], size,
                device, self._at_once[number], table.window, spans,
                self._attention.in_place[number], self._attention.on_device[number],
            )
            for number, table in enumerate(self._pool.tables)
        ]  # fmt: skip

    def _blocks(self, batch: Batch) -> NDArray[np.int32]:
        """[tables, works, blocks of the longest context]"""
        widest = -(-int((batch.starts + batch.counts).max()) // self._block_size)
        return self._table.block_tables[:, batch.rows, :widest]

    def _fault_non_finite(self, batch: Batch, hidden: torch.Tensor, faults: dict[int, str]) -> None:
        """Works with a NaN or infinity anywhere: their sequences fault and what they wrote is
        cleared (see KvPool)."""
        if math.isfinite(float(hidden.sum())):
            return
        bad = (~hidden.isfinite().all(-1)).cpu().numpy()
        for index, work in enumerate(batch.works):
            part = slice(int(batch.offsets[index]), int(batch.offsets[index + 1]))
            if bad[batch.hidden[index] : batch.hidden[index + 1]].any():
                faults[work.seq] = NOT_FINITE
                for table, slots in enumerate(batch.slot_mapping[:, part]):
                    self._pool.clear(table, torch.from_numpy(slots).to(self._device))
                if self._states is not None:
                    self._states.clear([batch.sequences[index].state])


def _common(room: Room, ranks: Ranks) -> Room:
    """What all ranks have."""
    *blocks, states = ranks.least((*room.blocks, room.states))
    return Room(tuple(blocks), states)
