"""Choosing tokens for a batch of sequences. Each has a sampler state here, which is rebuilt by
replaying its output."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...protocol.edges.gpu_runner_to_scheduler import TokenLogprobs
from ...protocol.requests.sampling import SamplingParams
from ...protocol.requests.thinking import Thought
from .guiding import Matcher, keep_allowed
from .logits import apply_min_p, apply_temperature, apply_top, penalise, pick
from .logprobs import token_logprobs
from .philox import uniform
from .unrunnable import Unrunnable


class SamplerState:
    """What one sequence's next token depends on beside its logits. `advance` is called with every
    token sampled."""

    def __init__(
        self,
        params: SamplingParams,
        choice: int,
        prompt: Sequence[int],
        output: Sequence[int],
        eos_token_ids: Sequence[int],
        vocab: int,
        device: torch.device,
        fallback_seed: int = 0,
        guide: Matcher | None = None,
        thought: Thought | None = None,
    ) -> None:
        """`fallback_seed` serves where the request carries no seed; `guide` and `thought` stand
        behind `output` already.

        Raises Unrunnable for token ids outside the vocabulary.
        """
        self.params = params
        self.choice = choice
        self.seed = params.seed if params.seed is not None else fallback_seed
        self.count = len(output)
        """Output tokens so far: the position in the random counter, and what min_tokens looks
        at."""
        self.bias = _bias(params, vocab, device)
        """float32 [vocab] added to the logits: logit_bias, and -inf for tokens that are not
        allowed."""
        stops = _checked((*eos_token_ids, *params.stop_token_ids), vocab, "stop_token_ids")
        self.early = torch.tensor(stops, device=device) if params.min_tokens > 0 and stops else None
        """Token ids that may not come before min_tokens."""
        additive = params.presence_penalty != 0.0 or params.frequency_penalty != 0.0
        self.penalised = additive or params.repetition_penalty != 1.0
        self.seen = self.counts = torch.empty(0)
        if self.penalised:
            produced = np.bincount(np.asarray(output, dtype=np.int64), minlength=vocab)
            self.counts = torch.from_numpy(produced.astype(np.float32)).to(device)
            self.seen = self.counts > 0
            self.seen[torch.tensor(prompt, dtype=torch.int64, device=device)] = True
        self.guide = guide
        """Binds the answer, which begins where thinking ends."""
        self.thought = thought
        if thought is not None:
            _checked(thought.marks, vocab, "thinking")
        for spelling in params.bad_words_ids:
            _checked(spelling, vocab, "bad_words")
        longest = max(map(len, params.bad_words_ids), default=1)
        self._tail = deque(output[-(longest - 1) :] if longest > 1 else (), maxlen=longest - 1)
        """The last output tokens, as many as may be the beginning of a bad word."""
        self.ends = torch.tensor(eos_token_ids, device=device) if guide and thought else None
        """End tokens, none of which may come while it thinks: its guide would get no answer."""
        free = self.bias is None and self.early is None and guide is None and thought is None
        self.plain = params.greedy and free and not self.penalised and not params.bad_words_ids
        """True: the likeliest token, nothing else to look at."""

    def advance(self, token: int) -> None:
        self.count += 1
        if self.penalised:
            self.counts[token] += 1
            self.seen[token] = True
        answers = self.thought is None or self.thought.advance(token)
        if self.guide is not None and answers:
            self.guide.advance(token)
        self._tail.append(token)

    @property
    def thinks(self) -> bool:
        """Whether the next token belongs to its thinking, whatever it is."""
        return self.thought is not None and self.thought.state == "thinking"

    def banned(self) -> list[int]:
        """Tokens that would complete a bad word now."""
        tail = tuple(self._tail)
        return [
            spelling[-1]
            for spelling in self.params.bad_words_ids
            if len(spelling) == 1 or tail[-(len(spelling) - 1) :] == spelling[:-1]
        ]


@dataclass
class Choices:
    tokens: list[int]
    """One per row."""
    failed: list[int]
    """Rows whose logits are not finite, or leave no token to choose."""


def sample(logits: torch.Tensor, states: Sequence[SamplerState]) -> Choices:
    """The next token of every row of `logits` [rows, vocab], float32, left unchanged. Does not
    advance the states."""
    if not all(state.plain for state in states):
        logits = _constrain(logits, states)
    tokens, values = _likeliest(logits)
    failed = [row for row, value in enumerate(values) if not math.isfinite(value)]
    random = [row for row in range(len(states)) if not states[row].params.greedy]
    if random := [row for row in random if row not in failed]:
        own = logits if len(random) == len(states) else logits[random]
        drawn = _draw(own, [states[row] for row in random])
        for row, token in zip(random, drawn, strict=True):
            tokens[row] = token
    return Choices(tokens, failed)


def _likeliest(logits: torch.Tensor) -> tuple[list[int], list[float]]:
    """Of each row the first of the largest logits, or of those that are no number; and its value.
    On a CPU numpy searches: with the processor's vectors, which torch's search for an index does
    not use."""
    if logits.device.type == "cpu":
        table = logits.numpy()
        indices = table.argmax(-1)
        return indices.tolist(), table[np.arange(len(table)), indices].tolist()
    best = logits.max(-1)
    return best.indices.tolist(), best.values.tolist()


def chosen_logprobs(
    logits: torch.Tensor, tokens: Sequence[int], states: Sequence[SamplerState]
) -> dict[int, TokenLogprobs]:
    """By row, for the rows that asked for it; of the raw `logits`."""
    rows = [row for row, state in enumerate(states) if state.params.logprobs is not None]
    if not rows:
        return {}
    tops = {row: states[row].params.logprobs or 0 for row in rows}
    own = torch.tensor([tokens[row] for row in rows], device=logits.device)
    entries = zip(rows, token_logprobs(logits[rows], own, max(tops.values())), strict=True)
    return {
        row: TokenLogprobs(one.token_id, one.logprob, one.rank, one.top[: tops[row]])
        for row, one in entries
    }


def _constrain(logits: torch.Tensor, states: Sequence[SamplerState]) -> torch.Tensor:
    """Biases, minimum length, bad words, penalties and guides, which also bind greedy rows; a new
    tensor."""
    logits = logits.clone()
    for row, state in enumerate(states):
        if state.bias is not None:
            logits[row] += state.bias
        # A guide's end wins: nothing else may come.
        ended = state.guide is not None and state.guide.ended
        if state.early is not None and state.count < state.params.min_tokens and not ended:
            logits[row, state.early] = -torch.inf
        if state.params.bad_words_ids and (banned := state.banned()):
            logits[row, banned] = -torch.inf
    rows = [row for row, state in enumerate(states) if state.penalised]
    if rows:
        among = [states[row] for row in rows]
        seen = torch.stack([state.seen for state in among])
        counts = torch.stack([state.counts for state in among])
        penalties = (
            _column([getattr(state.params, name) for state in among], logits)
            for name in ("repetition_penalty", "frequency_penalty", "presence_penalty")
        )
        logits[rows] = penalise(logits[rows], seen, counts, *penalties)
    guided = {
        row: state.guide
        for row, state in enumerate(states)
        if state.guide is not None and not state.thinks
    }
    opening = {row: token for row in guided if (token := _opening(states[row])) is not None}
    open_logits = {row: logits[row, token].clone() for row, token in opening.items()}
    if guided:
        logits[list(guided)] = keep_allowed(logits[list(guided)], list(guided.values()))
    for row, token in opening.items():
        logits[row, token] = open_logits[row]
    for row, state in enumerate(states):
        if state.thought is not None:
            _think(logits[row], state, state.thought)
    return logits


def _opening(state: SamplerState) -> int | None:
    """The token by which thinking may begin in place of what its guide allows."""
    return None if state.thought is None else state.thought.may_open


def _think(logits: torch.Tensor, state: SamplerState, thought: Thought) -> None:
    """What thinking demands of one row, in place."""
    if state.ends is not None and state.thinks:
        logits[state.ends] = -torch.inf
    if (forced := thought.forced) is not None:
        logits.fill_(-torch.inf)
        logits[forced] = 0.0


def _draw(logits: torch.Tensor, states: Sequence[SamplerState]) -> list[int]:
    """One random token per row, by the row's own parameters and counter."""
    params = [state.params for state in states]
    vocab = logits.shape[-1]
    logits = apply_temperature(logits, _column([p.temperature for p in params], logits))
    if any(p.min_p > 0 for p in params):
        logits = apply_min_p(logits, _column([p.min_p for p in params], logits))
    if any(0 < p.top_k < vocab or p.top_p < 1 for p in params):
        most = [[p.top_k if 0 < p.top_k < vocab else vocab] for p in params]
        top_k = torch.tensor(most, device=logits.device)
        logits = apply_top(logits, top_k, _column([p.top_p for p in params], logits))
    keys = np.array([(one.seed, one.choice, one.count) for one in states], dtype=np.int64)
    numbers = uniform(*np.ascontiguousarray(keys.T))
    tokens: list[int] = pick(logits, torch.from_numpy(numbers).to(logits.device)).tolist()
    return tokens


def _column(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]


def _bias(params: SamplingParams, vocab: int, device: torch.device) -> torch.Tensor | None:
    if not params.logit_bias and params.allowed_token_ids is None:
        return None
    bias = torch.zeros(vocab)
    if params.allowed_token_ids is not None:
        bias.fill_(-torch.inf)
        bias[list(_checked(params.allowed_token_ids, vocab, "allowed_token_ids"))] = 0.0
    for token in _checked(tuple(params.logit_bias or ()), vocab, "logit_bias"):
        bias[token] += (params.logit_bias or {})[token]
    return bias.to(device)


def _checked(tokens: Sequence[int], vocab: int, name: str) -> Sequence[int]:
    for token in tokens:
        if not 0 <= token < vocab:
            raise Unrunnable(
                f"{name} names the token {token}; the model has tokens 0 to {vocab - 1}."
            )
    return tokens
