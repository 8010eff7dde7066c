"""What hidden states of a step answer: tokens, log-probabilities of prompts, vectors. What is one
sequence's fails alone."""

from dataclasses import dataclass, field

import numpy as np
import torch

from ...protocol.edges.gpu_runner_to_scheduler import Pooled, Sampled, Scored
from ..models.language_model import LanguageModel
from ..ranks.gang import ALONE, Ranks
from ..sampling.logprobs import AT_ONCE, token_logprobs
from ..sampling.verifying import Turn, speak
from ..steps.batch import Batch
from ..steps.sequences import RunnerSequence, SequenceTable

NO_TOKEN = "The model's scores leave no token to choose for this request."
NOTHING = -1
"""In the place of a token."""
DEAD_END = "The request's constraints leave no token to choose."


@dataclass
class Made:
    """What a step has answered so far."""

    sampled: list[Sampled] = field(default_factory=list)
    prompt: list[Scored] = field(default_factory=list)
    pooled: list[Pooled] = field(default_factory=list)


class Answers:
    """By the head of one model; tokens that are sampled are appended to their sequences."""

    def __init__(
        self,
        model: LanguageModel,
        table: SequenceTable,
        vocab: int,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        self._model = model
        self._table = table
        self._vocab = vocab
        self._device = device
        self._ranks = ranks

    @staticmethod
    def takes_all(sequence: RunnerSequence) -> bool:
        """Hidden states of all its tokens are read, and not those of a work's last alone."""
        return sequence.pooling is not None or sequence.sampler.params.prompt_logprobs is not None

    def add(self, batch: Batch, hidden: torch.Tensor, faults: dict[int, str], made: Made) -> None:
        """Of works whose `hidden` states are [rows, hidden], as the batch has them, to `made`;
        those whose sequences have faults are passed over."""
        made.prompt += self._prompt_logprobs(batch, hidden, faults)
        made.sampled += self._sample(batch, hidden, faults)
        made.pooled += self._pool_states(batch, hidden, faults)

    def _prompt_logprobs(
        self, batch: Batch, hidden: torch.Tensor, faults: dict[int, str]
    ) -> list[Scored]:
        """Of the prompt positions that this step's hidden states predict; not again after output
        has begun."""
        found: list[Scored] = []
        for index, (work, sequence) in enumerate(zip(batch.works, batch.sequences, strict=True)):
            top = sequence.sampler.params.prompt_logprobs
            last = min(work.start + work.count, sequence.prompt_tokens - 1)
            if top is None or sequence.sampler.count or work.seq in faults or last <= work.start:
                continue
            offset = int(batch.hidden[index])
            targets = self._table.tokens[sequence.row, work.start + 1 : last + 1].astype(np.int64)
            targets = targets.clip(max=self._vocab - 1)  # a placeholder beyond it has no score
            entries = []
            for first in range(0, len(targets), AT_ONCE):
                piece = torch.from_numpy(targets[first : first + AT_ONCE]).to(self._device)
                logits = self._model.logits(hidden[offset + first : offset + first + len(piece)])
                entries += token_logprobs(logits, piece, top)
            found.append(Scored(work.seq, work.start + 1, tuple(entries)))
        return found

    def _sample(self, batch: Batch, hidden: torch.Tensor, faults: dict[int, str]) -> list[Sampled]:
        asked = [i for i, work in enumerate(batch.works) if work.sample and work.seq not in faults]
        chosen = [i for i in asked if batch.sequences[i].pooling is None]
        if not chosen:
            return []
        if len(chosen) < len(hidden):
            hidden = hidden[torch.from_numpy(batch.hidden[1:][chosen] - 1).to(self._device)]
        turns: dict[int, Turn] = {}
        for row, i in enumerate(chosen):
            work, sequence = batch.works[i], batch.sequences[i]
            turn = turns.setdefault(work.seq, Turn(sequence.row, sequence.sampler))
            turn.rows.insert(0, row)  # positions of a draft lie last first
            turn.draft = work.draft
        logits = self._model.logits(hidden)
        if self._ranks.is_first:
            speak(logits, list(turns.values()))
        if self._ranks.size > 1:
            self._as_first(list(turns.values()))
        sampled: list[Sampled] = []
        for seq, turn in turns.items():
            if turn.failed:
                faults[seq] = NO_TOKEN if turn.state.plain else DEAD_END
            for token, logprobs in turn.tokens:
                self._table.append_token(turn.row, token)
                sampled.append(Sampled(seq, token, logprobs))
        return sampled

    def _as_first(self, turns: list[Turn]) -> None:
        """What the first rank has chosen, which alone keeps how: seeds, penalties, grammars."""
        most = max(len(turn.rows) for turn in turns)
        told = torch.full((len(turns), 1 + most), NOTHING, dtype=torch.int64)
        for row, turn in zip(told, turns, strict=True):
            row[0] = turn.failed
            row[1 : 1 + len(turn.tokens)] = torch.tensor([token for token, _ in turn.tokens])
        told = self._ranks.as_first(told)
        if self._ranks.is_first:
            return
        for turn, (failed, *tokens) in zip(turns, told.tolist(), strict=True):
            turn.failed = bool(failed)
            turn.tokens = [(token, None) for token in tokens if token != NOTHING]

    def _pool_states(
        self, batch: Batch, hidden: torch.Tensor, faults: dict[int, str]
    ) -> list[Pooled]:
        """Of the prompts that end in this step; of others, what their vectors will need is kept."""
        found: list[Pooled] = []
        for index, (work, sequence) in enumerate(zip(batch.works, batch.sequences, strict=True)):
            if sequence.pooling is None or work.seq in faults:
                continue
            first = int(batch.hidden[index])
            made = sequence.pooling.add(hidden[first : first + work.count], work.start, work.sample)
            if made is not None:
                numbers = made.numpy().astype("<f4", copy=False)
                found.append(Pooled(work.seq, len(made), numbers.tobytes()))
        return found
