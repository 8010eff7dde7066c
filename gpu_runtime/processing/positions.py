"""Rotary positions of one item, by the model's own rule, apart from what stands around it."""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from ...protocol.errors import EngineError

_RULE = "get_rope_index"
_OTHER_NAMES = {
    "second_per_grid_ts": ("video_second_per_grid",),
    "second_per_grids": ("video_second_per_grid", "second_per_grid_ts"),
}
"""What a rule calls an input, and what processors may call it."""


class Planes(NamedTuple):
    """Of a run: `values` [planes, run tokens] minus the run's first position, and the distance to what follows it."""

    values: NDArray[np.int32]
    advance: int


class PositionRule:
    """One model's."""

    def __init__(self, bare: Any) -> None:
        self._bare = bare
        self._wanted = signature(getattr(bare, _RULE)).parameters

    def planes(
        self,
        before: Sequence[int],
        run: Sequence[int],
        after: int,
        types: Sequence[int],
        answer: Mapping[str, Any],
        heard: bool,
    ) -> Planes:
        """Of `run` between the tokens `before` and the token `after`. `types`: of all of them, the processor's
        `mm_token_type_ids`. `answer`: what the processor made of the item. `heard`: a clip's sound lies between its frames.
        """
        token_ids = [*before, *run, after]
        given = {
            "input_ids": torch.tensor([token_ids]),
            "attention_mask": torch.ones(1, len(token_ids), dtype=torch.int64),
            "mm_token_type_ids": torch.tensor([types]),
            "use_audio_in_video": heard,
        }
        known = {name: given[name] for name in self._wanted if name in given}
        for name in self._wanted:
            for source in (name, *_OTHER_NAMES.get(name, ())):
                if name not in known and source in answer:
                    known[name] = torch.as_tensor(answer[source])
        if "audio_seqlens" in self._wanted and "feature_attention_mask" in answer:
            known["audio_seqlens"] = torch.as_tensor(answer["feature_attention_mask"]).sum(-1)
        positions = getattr(self._bare, _RULE)(**known)[0][:, 0].numpy()
        first = positions[:, len(before) - 1].max() + 1 if before else 0
        values = positions[:, len(before) : len(before) + len(run)] - first
        return Planes(_whole(values), int(positions[:, -1].max() - first))


def rule_of(config: Any, model: type[Any]) -> PositionRule | None:
    """None: a model with one plane. The rule runs on an instance without layers: it reads the configuration alone."""
    for kind in (model, MODEL_MAPPING.get(type(config), None)):
        if kind is not None and hasattr(kind, _RULE):
            bare = kind.__new__(kind)
            nn.Module.__init__(bare)
            bare.config = config
            bare.spatial_merge_size = getattr(getattr(config, "vision_config", None), "spatial_merge_size", 1)
            return PositionRule(bare)
    return None


def _whole(values: NDArray[Any]) -> NDArray[np.int32]:
    made = values.astype(np.int32)
    if not np.array_equal(made, values):
        raise EngineError("The model's rotary positions are not whole numbers.")
    return made
