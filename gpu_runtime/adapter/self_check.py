"""The gate: a model runs here only where its layers go through our attention, and its logits come
out as from its own.

`_supports_attention_backend` of transformers is no such gate: some models that claim it give wrong
tokens in silence. A handful of tokens goes through the model's own forward with transformers' own
attention and then, in pieces and in company, through what will serve: a few forwards of twelve
tokens, whatever the model's size.
"""

import inspect
from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from ...protocol.errors import EngineError
from ...protocol.facts import ModelFacts
from ...protocol.requests.request import MODALITIES
from ..attention.choice import AttentionKernels
from ..attention.metadata import build_metadata
from ..attention.paged import PagedAttention
from ..inspection.hf import said
from ..layers.how import How
from ..memory.kv_pool import KvPool
from ..memory.pieces import Ints
from ..memory.state_pool import RecurrentStep, StatePool
from . import masks
from .attention import Unsupported
from .parts import ModelParts
from .step import Decoder, StepInputs

TOKENS = 12
PIECES = ((TOKENS, 5), (0, 5), (0, 1), (0, 1))
"""Tokens of the first and the second sequence in each step: one whole, beside one in chunks and
single tokens."""
SPANS = np.array([-1, -1, -1, -1, -1, 0, 0, -1, 1, 1, -1, -1])
"""Two items where a model's items see themselves both ways: of the second sequence, in one
chunk."""
WHOLE = ((TOKENS, TOKENS),)
"""Of a model whose text has no direction."""
BLOCK_SIZE = 4
BOUNDS = {torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 2e-1}
"""Mean distance of logits, in standard deviations of the right ones. What is wrong lies above a
half, in any dtype."""
ROUNDED = BOUNDS[torch.bfloat16]
"""The same where rows become whole numbers within products: beside an outlier they keep few bits,
as in bfloat16."""


class Model(Protocol):
    decoder: Decoder

    def looked_up(self, tokens: torch.Tensor) -> torch.Tensor: ...

    def embed(self, tokens: torch.Tensor) -> torch.Tensor: ...

    def logits(self, hidden: torch.Tensor) -> torch.Tensor: ...


@dataclass
class Expected:
    """What the model itself says to some tokens."""

    tokens: torch.Tensor
    """int64 [TOKENS]"""
    scores: torch.Tensor
    """float32 [TOKENS, vocab]: logits; of a model that makes vectors the states [TOKENS,
    hidden]."""
    places: torch.Tensor
    """int64 [planes, TOKENS]: rotary positions."""


@torch.inference_mode()
def ask(parts: ModelParts, model: ModelFacts, device: torch.device) -> Expected:
    """What the whole model says with transformers' own attention. Raises EngineError where its
    forward fails."""
    marks = {facts.embed_token_id for facts in model.placeholders.values()}
    plain = [token for token in range(min(model.vocab, 64 * TOKENS)) if token not in marks]
    tokens = torch.tensor([plain[i * 37 % len(plain)] for i in range(TOKENS)], device=device)

    places = _places(model, device)
    more = {} if len(places) == 1 else {"position_ids": places[:, None]}
    vectors = model.output == "vector"
    asked: Any = parts.whole.get_submodule(parts.body) if vectors else parts.whole

    def forward(**kinds: torch.Tensor) -> torch.Tensor:
        ids, seen = tokens[None], torch.ones(1, TOKENS, dtype=torch.int64, device=device)
        out = asked(input_ids=ids, attention_mask=seen, use_cache=False, **more, **kinds)
        scores: torch.Tensor = out.last_hidden_state if vectors else out.logits
        return scores

    try:
        parts.decoder.set_attn_implementation(masks.NAME)
        masked = masks.wrong_layer(forward, model.context, model.span_scope == "text")
        parts.decoder.set_attn_implementation("eager")
        scores = forward(**_kinds(asked, model, device))
    except Exception as error:  # foreign code, hundreds of classes of it
        raise refusal(model, f"its own forward fails ({said(error)})") from error
    if masked is not None:
        wanted = "without direction" if model.span_scope == "text" else "causal"
        why = f"is neither {wanted} nor the window that its attention is given"
        raise refusal(model, f"the mask of its layer {masked} {why}")
    if not vectors and scores.shape != (1, TOKENS, model.vocab):
        why = f"its head scores {scores.shape[-1]} tokens; its facts say {model.vocab}"
        raise refusal(model, why)
    return Expected(tokens, scores[0].float(), places)


def _places(model: ModelFacts, device: torch.device) -> torch.Tensor:
    """int64 [planes, TOKENS], in every plane others: text alone has the same in all, and hides
    which turns what."""
    index = torch.arange(TOKENS, device=device)
    return torch.stack([index + plane * (index // 3) for plane in range(model.position_planes)])


def _kinds(asked: Any, model: ModelFacts, device: torch.device) -> dict[str, torch.Tensor]:
    """Which tokens are an item's, by the names under which the model's forward takes it; {}:
    nothing is seen both ways."""
    if not model.span_layers or model.span_scope == "text":
        return {}
    inside, outside = 0, 1
    if model.span_scope != "prompt":
        inside, outside = MODALITIES.index(model.span_modalities[0]) + 1, 0
    kinds = torch.from_numpy(np.where(_spans(model) < 0, outside, inside))[None].to(device)
    taken = inspect.signature(asked.forward).parameters
    return {name: kinds for name in ("token_type_ids", "mm_token_type_ids") if name in taken}


def _spans(model: ModelFacts) -> Ints:
    """Of each token the span in which it is, -1: none; the pieces of the second sequence hold them
    whole."""
    if model.span_scope == "text":
        return np.zeros(TOKENS, dtype=np.int64)
    if model.span_scope == "prompt":
        return np.where(np.arange(TOKENS) < PIECES[0][1], 0, -1)
    return SPANS if model.span_scope == "item" else np.minimum(SPANS, 0)


@torch.inference_mode()
def check(
    served: Model,
    expected: Expected,
    model: ModelFacts,
    dtype: torch.dtype,
    device: torch.device,
    kernels: AttentionKernels | None = None,
    bound: float | None = None,
) -> None:
    """Raises EngineError that says in what, and in which layer, the model is another one here.
    `bound` is of BOUNDS where it is None."""
    tables = model.tables
    pool = KvPool(tables, (1 + 2 * TOKENS // BLOCK_SIZE,) * len(tables), BLOCK_SIZE, dtype, device)
    attention = _Watched(pool, model, kernels)
    states = StatePool(model.recurrent, 2, dtype, device)
    for store in (*states.conv.values(), *states.state.values()):
        store.fill_(1)  # another sequence's, as a slot is found
    try:
        steps = _run(served, expected, attention, states, model)
    except Unsupported as error:
        why = f"its layer {attention.layer + 1} {error}, which is not built"
        raise refusal(model, why) from error
    except EngineError:
        raise
    except Exception as error:
        why = f"it fails over this attention, at layer {attention.layer + 1} ({said(error)})"
        raise refusal(model, why) from error
    attention.judge(model, len(_pieces(model)))
    spread = float(expected.scores.std()) or 1.0
    what = "logits" if model.output == "token" else "states"
    for name, scores in zip(("whole", "in pieces"), steps, strict=True):
        distance = float((scores - expected.scores).abs().mean()) / spread
        if not distance <= (BOUNDS[dtype] if bound is None else bound):
            why = f"differ from its own by {distance:.2g} of their spread"
            raise refusal(model, f"its {what} for a prompt computed {name} {why}")


def _run(
    served: Model,
    expected: Expected,
    attention: PagedAttention,
    states: StatePool,
    model: ModelFacts,
) -> list[torch.Tensor]:
    """Scores, as in `Expected`, of both sequences."""
    tokens, places = expected.tokens, expected.places
    extent = int(places.max()) + 1
    spans = _spans(model)
    blocks = TOKENS // BLOCK_SIZE
    tables = np.arange(1, 1 + 2 * blocks, dtype=np.int32)[::-1].reshape(2, blocks)
    found: list[list[torch.Tensor]] = [[], []]
    done = [0, 0]
    for counts in _pieces(model):
        rows = [row for row in (0, 1) if counts[row]]
        rows.sort(key=lambda row: (counts[row] > 1, -done[row]))
        index = np.concatenate([np.arange(done[row], done[row] + counts[row]) for row in rows])
        owner = np.repeat(rows, [counts[row] for row in rows])
        held = tables[owner, index // BLOCK_SIZE].astype(np.int64)
        slot_mapping = held * BLOCK_SIZE + index % BLOCK_SIZE
        starts, sizes = (np.array(each, dtype=np.int64)[rows] for each in (done, counts))
        work = starts, sizes, tables[rows], slot_mapping, BLOCK_SIZE, tokens.device, None
        marked = spans[index] if model.span_layers else None
        ways = zip(model.tables, attention.in_place, attention.on_device, strict=True)
        attention.begin([build_metadata(*work, one.window, marked, *way) for one, *way in ways])
        where = torch.from_numpy(index).to(tokens.device)
        positions = places[:, where] if len(places) > 1 else where
        ids = served.looked_up(tokens[where])
        offsets = np.concatenate((np.zeros(1, dtype=np.int64), sizes.cumsum()))
        step = StepInputs(ids, served.embed(ids), positions, np.full(len(index), extent))
        if model.recurrent:
            slots = torch.tensor(rows).to(tokens.device)
            step.recurrent = RecurrentStep(states, slots, offsets, starts == 0, sizes)
        hidden = served.decoder(step, attention)
        scores = served.logits(hidden) if model.output == "token" else hidden.float()
        for row in rows:
            found[row].append(scores[torch.from_numpy(owner == row).to(scores.device)])
            done[row] += counts[row]
    return [torch.cat(each) for each in found]


def _pieces(model: ModelFacts) -> tuple[tuple[int, int], ...]:
    return WHOLE if model.span_scope == "text" else PIECES


class _Watched(PagedAttention):
    """Which layers call, and how far back each looks: a short prompt does not show that."""

    def __init__(self, pool: KvPool, model: ModelFacts, kernels: AttentionKernels | None) -> None:
        super().__init__(pool, model.span_layers, model.span_windows, kernels)
        self.layer = -1
        """The last that called."""
        self._calls: Counter[int] = Counter()
        self._windows: dict[int, int | None] = {}

    def __call__(self, layer: int, query: torch.Tensor, kv: torch.Tensor, how: How) -> torch.Tensor:
        self.layer = layer
        self._calls[layer] += 1
        self._windows[layer] = how.window
        return super().__call__(layer, query, kv, how)

    def judge(self, model: ModelFacts, steps: int) -> None:
        """Raises EngineError where a layer did not call once a step, or with another window than
        the facts say."""
        for group in model.kv_groups:
            for layer in (*group.layers, *group.readers):
                calls = self._calls.pop(layer, 0)
                if calls != steps:
                    why = f"calls its attention {calls} times in {steps} steps"
                    raise refusal(model, f"its layer {layer} {why}")
                window = self._windows[layer]
                if _bounded(window, model) != _bounded(group.window, model):
                    why = f"has a window of {window} tokens; its facts say {group.window}"
                    raise refusal(model, f"its layer {layer} {why}")
        if self._calls:
            raise refusal(model, f"its layer {min(self._calls)} is not among its facts")


def _bounded(window: int | None, model: ModelFacts) -> int | None:
    """A window of the whole context is none."""
    return None if window is None or window >= model.context else window


def refusal(model: ModelFacts, why: str) -> EngineError:
    """The sentence with which a model is refused."""
    kind = f"{model.architecture} ({model.model_type})" if model.architecture else model.model_type
    return EngineError(f"The model of type {kind} cannot be run here: {why}.")
