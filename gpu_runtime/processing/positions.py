"""Rotary positions of one item, by the model's own rule, apart from what stands around it."""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from ...protocol.edges.decode_worker_to_preprocessor import NOTHING, ORDINAL, RUN
from ...protocol.errors import EngineError

_FAR = 7
"""Tokens that a run is moved by, to see which of its positions go along."""
_RULE = "get_rope_index"
_OTHER_NAMES = {
    "second_per_grid_ts": ("video_second_per_grid",),
    "second_per_grids": ("video_second_per_grid", "second_per_grid_ts"),
}
"""What a rule calls an input, and what processors may call it."""


class Planes(NamedTuple):
    """Of a run: rotary positions [planes, run tokens], each minus its anchor, and the distance to
    what follows the run."""

    values: NDArray[np.int32]
    advance: int
    anchors: NDArray[np.uint8] | None = None
    """As in `ProcessedItem`."""


class PositionRule:
    """One model's."""

    def __init__(self, bare: Any) -> None:
        self._bare = bare
        self._wanted = signature(getattr(bare, _RULE)).parameters

    def planes(self, prompt: "Prompt", answer: Mapping[str, Any], heard: bool) -> Planes:
        """`answer`: what the processor made of the item. `heard`: a clip's sound lies between its
        frames."""
        positions = self._positions([prompt], [answer], heard)
        start, end = prompt.bounds
        first = positions[:, start - 1].max() + 1 if start else 0
        return Planes(_whole(positions[:, start:end] - first), int(positions[:, -1].max() - first))

    def anchored_planes(self, prompt: "Prompt", answer: Mapping[str, Any]) -> Planes:
        """Where some planes do not count from the run's first position: found out by moving the
        run, and by a second one."""
        start, end = prompt.bounds
        plain = self.planes(prompt, answer, False)
        here = self._positions([prompt], [answer], False)[:, start:end]
        far = self._positions([prompt.behind(_FAR)], [answer], False)
        moved = far[:, start + _FAR : end + _FAR] - here == _FAR
        twice = self._positions([prompt, prompt], [answer, answer], False)
        stays = twice[:, len(prompt.token_ids) :][:, start:end] == here
        anchors = np.select([moved, stays], [RUN, NOTHING], ORDINAL).astype(np.uint8)
        return Planes(np.where(anchors == RUN, plain.values, _whole(here)), plain.advance, anchors)

    def _positions(
        self, prompts: Sequence["Prompt"], answers: Sequence[Mapping[str, Any]], heard: bool
    ) -> NDArray[Any]:
        """[planes, tokens] of the prompts as one."""
        token_ids = torch.tensor([[id for prompt in prompts for id in prompt.token_ids]])
        given = {
            "input_ids": token_ids,
            "attention_mask": torch.ones_like(token_ids),
            "mm_token_type_ids": torch.tensor([[k for prompt in prompts for k in prompt.types]]),
            "use_audio_in_video": heard,
        }
        known = {name: given[name] for name in self._wanted if name in given}
        for name in self._wanted:
            for source in (name, *_OTHER_NAMES.get(name, ())):
                if name not in known and source in answers[0]:
                    known[name] = torch.cat([torch.as_tensor(answer[source]) for answer in answers])
        if "audio_seqlens" in self._wanted and "feature_attention_mask" in answers[0]:
            known["audio_seqlens"] = torch.as_tensor(answers[0]["feature_attention_mask"]).sum(-1)
        positions: NDArray[Any] = getattr(self._bare, _RULE)(**known)[0][:, 0].numpy()
        return positions


class Prompt(NamedTuple):
    """A run between its marks."""

    token_ids: tuple[int, ...]
    types: tuple[int, ...]
    """The processor's `mm_token_type_ids`."""
    bounds: tuple[int, int]
    """Of the run; behind it stands at least one token."""

    def behind(self, count: int) -> "Prompt":
        """The same after `count` tokens of text."""
        before, (start, end) = (0,) * count, self.bounds
        bounds = (start + count, end + count)
        return Prompt(before + self.token_ids, before + self.types, bounds)


def rule_of(config: Any, model: type[Any]) -> PositionRule | None:
    """None: a model with one plane. The rule runs on an instance without layers: it reads the
    configuration alone."""
    known: Any = MODEL_MAPPING.get(type(config), None)
    for kind in (model, *(known if isinstance(known, tuple) else (known,))):
        if kind is not None and hasattr(kind, _RULE):
            bare = kind.__new__(kind)
            nn.Module.__init__(bare)
            bare.config = config
            vision = getattr(config, "vision_config", None)
            bare.spatial_merge_size = getattr(vision, "spatial_merge_size", 1)
            return PositionRule(bare)
    return None


def _whole(values: NDArray[Any]) -> NDArray[np.int32]:
    made = values.astype(np.int32)
    if not np.array_equal(made, values):
        raise EngineError("The model's rotary positions are not whole numbers.")
    return made
