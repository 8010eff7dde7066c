"""The towers, tried at a start on an item without content: on meta, shapes alone, at next to no
cost.

A configuration may name a layer that a tower does not have, or a size that the processor does not
cut: nothing of that is among the weights, and every item would fail.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from ...protocol.errors import EngineError
from ...protocol.facts import ModelFacts
from ...protocol.requests.request import Modality
from ..adapter.towers import Towers, find_towers
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
        for problem in (
            found for part in item.parts for found in _problems(towers, part, facts, model.dtype)
        ):
            raise EngineError(
                f"Every {modality} would fail in {type(model).__name__}: {problem}. The "
                f"config.json and the processor's files "
                f"of {facts.path!r} do not fit together."
            )


def _problems(towers: Towers, part: Part, facts: ModelFacts, dtype: torch.dtype) -> Iterator[str]:
    try:
        levels = towers.encoder(part.kind)(
            {name: _hollow(array, dtype) for name, array in part.tensors.items()}, part.rows
        )
    except RuntimeError:  # all that cannot be done on meta, and what cannot be done at all
        return
    except Exception as error:  # of the tower's own code, hundreds of classes of it
        yield f"its tower for {part.kind} items says {_said(error)}"
        return
    for level in levels:
        if level.shape != (part.rows, facts.hidden):
            yield (
                f"its tower for {part.kind} items makes {list(level.shape)} where [{part.rows}, "
                f"{facts.hidden}] are needed"
            )


def _hollow(array: Any, dtype: torch.dtype) -> torch.Tensor:
    """Whole numbers stay, as grids do: shapes follow from them."""
    tensor = torch.from_numpy(array)
    return tensor.to("meta", dtype) if tensor.is_floating_point() else tensor


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
