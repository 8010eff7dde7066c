"""The towers, tried at a start on an item without content: on meta, shapes alone, at next to no
cost.

A configuration may name a layer that a tower does not have, or a size that the processor does not
cut: nothing of that is among the weights, and every item would fail.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from ...protocol.errors import EngineError
from ...protocol.facts import ModelFacts
from ...protocol.requests.request import Modality
from ..adapter.towers import Towers, find_towers
from ..inspection.hf import said
from ..processing import Part, ProcessedItem


@torch.inference_mode()
def try_towers(
    model: PreTrainedModel, facts: ModelFacts, items: Mapping[Modality, ProcessedItem]
) -> None:
    """`model` is whole and on meta, `items` what its processor makes of one of each modality.

    Raises EngineError for a modality of which every item would fail. Many towers look at numbers
    that meta tensors do not have; they are followed up to there.
    """
    towers = find_towers(model, list(items))
    for modality, item in items.items():
        for part in item.parts:
            problem = _problem(towers, part, facts, model.dtype)
            if problem:
                raise EngineError(
                    f"Every {modality} would fail in {type(model).__name__}: its tower for "
                    f"{part.kind} items {problem}. The config.json and the processor's files of "
                    f"{facts.path!r} do not fit together."
                )


def _problem(towers: Towers, part: Part, facts: ModelFacts, dtype: torch.dtype) -> str:
    """What the tower does wrong; "": nothing that can be known on meta."""
    tensors = {name: _hollow(array, dtype) for name, array in part.tensors.items()}
    try:
        levels = towers.encoder(part.kind)(tensors, part.rows)
    except RuntimeError:  # all that cannot be done on meta, and what cannot be done at all
        return ""
    except Exception as error:  # of the tower's own code, hundreds of classes of it
        return f"says {type(error).__name__}: {said(error)}"
    wanted = [part.rows, facts.hidden]
    wrong = [list(level.shape) for level in levels if list(level.shape) != wanted]
    return f"makes {wrong[0]} where {wanted} are needed" if wrong else ""


def _hollow(array: Any, dtype: torch.dtype) -> torch.Tensor:
    """Whole numbers stay, as grids do: shapes follow from them."""
    tensor = torch.from_numpy(array)
    return tensor.to("meta", dtype) if tensor.is_floating_point() else tensor
