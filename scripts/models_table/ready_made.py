"""Prompts as embeddings, and pictures as the rows that the model's own tower makes of them."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch

from thespis.gpu_runtime.adapter.embedding import scale_of
from thespis.gpu_runtime.adapter.parts import take_apart
from thespis.tests.zoo.reference import Reference

from .questions import Solved


def ready_made(
    reference: Reference, solved: Sequence[Solved], whole: bool
) -> list[tuple[dict[str, Any], Solved]]:
    """What `LLM.generate` takes, each with what is asked in that way. `whole`: the model takes
    whole prompts as embeddings."""
    found: list[tuple[dict[str, Any], Solved]] = []
    scale = scale_of(take_apart(reference.model), torch.device("cpu"))
    with torch.inference_mode():
        for one in solved:
            if not one.question.media and whole:
                ids = torch.tensor(one.answer.prompt_token_ids)
                rows = reference.model.get_input_embeddings()(ids) * scale
                found.append(({"prompt_embeds": rows}, one))
            elif (
                one.question.media == ("image",) and (given := _picture(reference, one)) is not None
            ):
                found.append(
                    (
                        {
                            "prompt": _once_begun(reference, one.text),
                            "multi_modal_data": {"image": given},
                        },
                        one,
                    )
                )
    return found


def _once_begun(reference: Reference, text: str) -> str:
    """Without the BOS that the template has written, where the tokenizer writes one before every
    prompt."""
    tokenizer = reference.tokenizer
    writes = tokenizer.bos_token_id is not None and tokenizer("")["input_ids"][:1] == [
        tokenizer.bos_token_id
    ]
    return text.removeprefix(tokenizer.bos_token) if writes else text


def _picture(reference: Reference, one: Solved) -> dict[str, Any] | None:
    """None: the family's rows are not to be had by one call."""
    inputs = reference.inputs(one.text, one.question.shown)
    parts = (
        getattr(reference.model, "model", None),
        reference.model,
    )  # of half of them, the outer one takes *args
    owner = next((part for part in parts if hasattr(part, "get_image_features")), None)
    pixels = inputs.get("pixel_values")
    sized = any(name.endswith("_sizes") for name in inputs)
    alone = pixels is not None and pixels.ndim == 4 and len(pixels) == 1 and not sized
    if owner is None or reference.animal.company or not (alone or "image_grid_thw" in inputs):
        return None  # rows say nothing of how a picture was divided
    features = owner.get_image_features
    names = signature(features).parameters
    made = features(**{name: value for name, value in inputs.items() if name in names})
    levels = [made.pooler_output, *(getattr(made, "deepstack_features", None) or ())]
    rows = torch.cat([_flat(level) for level in levels], dim=-1)
    grid = {"image_grid_thw": inputs["image_grid_thw"]} if "image_grid_thw" in inputs else {}
    return {"image_embeds": rows, **grid}


def _flat(rows: Any) -> torch.Tensor:
    """[rows, hidden] of a tensor with axes before them, or of one tensor per picture."""
    together = torch.cat([one.reshape(-1, one.shape[-1]) for one in rows])
    return together.float()
