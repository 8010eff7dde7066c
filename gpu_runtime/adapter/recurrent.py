"""Layers that keep a state for each sequence: each gets its sequences' states where it looks for
transformers' cache.

Those of transformers take batches of equal lengths, and a state flows from token to token. So a
flat step is cut for them: all works of one token are one batch, each chunk goes by itself. Where a
prompt's time steps are limited and an answer's are not, a chunk is cut where its prompt ends, and a
prompt's tokens that come one by one are limited, too.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from ...protocol.facts import RecurrentGroup
from ..inspection.measure import UNLIMITED, cache_name, step_limits
from ..layers.replacing import replace_modules
from ..memory.state_pool import RecurrentStep, StatePool
from .attention import Unsupported
from .scan import SCAN, UPDATE, called, replace, selective_scan


class _Part(NamedTuple):
    """Tokens [first, last) of a step: of `rows` sequences the same number each."""

    first: int
    last: int
    slots: torch.Tensor
    """int64 [rows]"""
    fresh: torch.Tensor | None
    """bool [rows]: those that begin, whose slots still hold another's state; None: no sequence
    does."""
    prompt: torch.Tensor | None
    """bool [rows]: those whose tokens are a prompt's; None: all are of answers."""


class Recurrence:
    """The recurrent layers of one decoder; `begin` is called once a step."""

    def __init__(self, decoder: nn.Module, groups: Iterable[RecurrentGroup]) -> None:
        """Puts a `RecurrentLayer` in the place of each. Raises Unsupported where one is not as
        transformers writes them."""
        self.parts: list[_Part] = []
        self.pool: StatePool | None = None
        self._cuts = False
        """A prompt's tokens are computed otherwise than an answer's."""
        wanted = {number for group in groups for number in group.layers}
        found: set[int] = set()

        def kept(child: Any) -> RecurrentLayer | None:
            number = getattr(child, "layer_idx", None)
            if number not in wanted or not any(isinstance(c, nn.Conv1d) for c in child.children()):
                return None
            self._cuts = self._cuts or step_limits(child) is not None
            found.add(number)
            return RecurrentLayer(child, self)

        replace_modules(decoder, kept)
        if found != wanted:
            raise Unsupported(f"its layer {min(wanted - found)} keeps a state of an unknown kind")

    def begin(self, step: RecurrentStep) -> None:
        self.pool = step.pool
        singles = int((step.offsets[1:] - step.offsets[:-1] == 1).sum())
        self.parts = []
        if singles:
            self.parts.append(self._part(step, 0, singles, 0, singles))
        for work in range(singles, len(step.slots)):
            first, last = int(step.offsets[work]), int(step.offsets[work + 1])
            middle = first + int(step.prompts[work]) if self._cuts else last
            edges = [(first, middle), (middle, last)]
            self.parts += [
                self._part(step, work, work + 1, low, high) for low, high in edges if low < high
            ]

    def _part(self, step: RecurrentStep, low: int, high: int, first: int, last: int) -> _Part:
        """Tokens [first, last) of works [low, high): all, or those of one work before or behind its
        prompt's end."""
        slots, begin = step.slots[low:high], int(step.offsets[low])
        fresh = step.fresh[low:high] & (first == begin)
        prompt = step.prompts[low:high] > first - begin
        marks = [
            torch.from_numpy(each).to(slots.device) if each.any() else None
            for each in (fresh, prompt)
        ]
        return _Part(first, last, slots, *marks)


class RecurrentLayer(nn.Module):
    """In the place of one such module of transformers."""

    def __init__(self, module: Any, recurrence: Recurrence) -> None:
        super().__init__()
        self._module = module
        self._layer: int = module.layer_idx
        self._recurrence = recurrence
        self._cache = cache_name(module)
        self._begins: Iterator[torch.Tensor] = iter(())
        """States that the scans of one call of the module begin with, by head where it has
        several."""
        self._limits = step_limits(module)
        self._prompt: torch.Tensor | None = None
        """As in the part that is computed."""
        self._own_update = called(module, UPDATE)
        if called(module, SCAN) is not None:
            replace(module, SCAN, self._scan)
        if self._limits is not None:
            replace(module, UPDATE, self._update)

    def forward(self, hidden_states: torch.Tensor, **given: Any) -> torch.Tensor:
        """[1, tokens, hidden] to the same shape."""
        parts, hidden = self._recurrence.parts, hidden_states[0]
        out = [self._part(hidden[part.first : part.last], part, given) for part in parts]
        return (out[0] if len(out) == 1 else torch.cat(out))[None]

    def _part(self, hidden: torch.Tensor, part: _Part, given: dict[str, Any]) -> torch.Tensor:
        """[tokens, hidden] of equally many tokens of each sequence."""
        pool = self._recurrence.pool
        assert pool is not None
        stores = pool.conv.get(self._layer), pool.state.get(self._layer)
        states = _States(*(None if store is None else _gather(store, part) for store in stores))
        if states.state is not None:
            self._begins = iter(states.state.unbind(1) if states.state.ndim > 3 else [states.state])
        if self._limits is not None:
            self._prompt = part.prompt
            self._module.time_step_limit = UNLIMITED if part.prompt is None else self._limits
        rows = hidden.view(len(part.slots), -1, hidden.shape[-1])
        given = given | {self._cache: states, "attention_mask": None}
        out: torch.Tensor = self._module(rows, **given)
        for store, state in zip(stores, (states.conv, states.state), strict=True):
            if store is not None and state is not None:
                store.index_copy_(0, part.slots, state.to(store.dtype))
        return out.reshape(hidden.shape)

    def _scan(self, *given: torch.Tensor, **named: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """As transformers' function is called where there is a cache: by softplus, and with the
        last state."""
        named = {name: named[name] for name in ("D", "z", "delta_bias")}
        return selective_scan(next(self._begins), *given, **named)

    def _update(
        self,
        state: torch.Tensor,
        hidden: torch.Tensor,
        dt: torch.Tensor,
        *given: torch.Tensor,
        dt_bias: torch.Tensor,
        dt_softplus: bool,
        **named: Any,
    ) -> torch.Tensor:
        """As transformers' function is called, by softplus; `dt` [rows, heads, width]. A prompt's
        steps are limited as in its scan."""
        steps = F.softplus(dt + dt_bias.to(dt.dtype))
        if self._prompt is not None and self._limits is not None:
            steps = torch.where(self._prompt[:, None, None], steps.clamp(*self._limits), steps)
        out: torch.Tensor = self._own_update(state, hidden, steps, *given, **named)
        return out


def _gather(store: torch.Tensor, part: _Part) -> torch.Tensor:
    """A copy of [rows, ...]: some layers work in place."""
    taken = store.index_select(0, part.slots)
    if part.fresh is not None:
        taken[part.fresh] = 0
    return taken


class _States:
    """What such a layer asks of a cache of transformers. Zeros are the state of a sequence that
    begins, so each has one."""

    def __init__(self, conv: torch.Tensor | None, state: torch.Tensor | None) -> None:
        """`conv` [rows, channels, kernel], `state` [rows, ...]"""
        self.conv = conv
        self.state = state

    def has_previous_state(self, *_: Any, **__: Any) -> bool:
        return True

    def is_recording_past(self, *_: Any) -> bool:
        return False

    def get_conv_state(self, layer_idx: int, state_idx: int = 0) -> torch.Tensor | None:
        return self.conv

    def get_recurrent_state(self, layer_idx: int, state_idx: int = 0) -> torch.Tensor | None:
        return self.state

    def update_conv_state(
        self, new: torch.Tensor, layer_idx: int, state_idx: int = 0, **_: Any
    ) -> torch.Tensor:
        """`new` [rows, channels, tokens]; the answer begins with the columns that its first tokens
        look back to."""
        assert self.conv is not None
        whole = torch.cat((self.conv, new), -1)
        self.conv = whole[..., -self.conv.shape[-1] :]
        return whole

    def update_recurrent_state(
        self, new: torch.Tensor, layer_idx: int, state_idx: int = 0, **_: Any
    ) -> torch.Tensor:
        self.state = new
        return new
