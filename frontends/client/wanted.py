"""Whether the model makes what a request wants: tokens, or vectors of so many numbers. Pure."""

from ...protocol.errors import refuse
from ...protocol.facts import ModelFacts
from ...protocol.requests.pooling import PoolingParams


def check_wanted(model: ModelFacts, name: str, pooling: PoolingParams | None) -> None:
    """`name`: the model's, as callers see it. Raises RequestError 400."""
    if pooling is None and model.output == "vector":
        text = (
            f"The model `{name}` makes vectors and no text: ask for embeddings, or start it with "
            f"--runner generate."
        )
        raise refuse("unsupported", text, "model", "wrong_output")
    if pooling is None:
        return
    pooler = model.pooler
    if pooler is None:
        text = (
            f"The model `{name}` makes text and no vectors; start it with --runner pooling to "
            f"have them."
        )
        raise refuse("unsupported", text, "model", "wrong_output")
    if pooling.prompt_name and pooling.prompt_name not in pooler.prompts:
        known = ", ".join(sorted(pooler.prompts)) or "none"
        text = f"The model `{name}` has no prompt of this name; there are: {known}."
        raise refuse("invalid_request", text, "prompt_name", "unknown_prompt")
    if (wanted := pooling.dimensions) is None:
        return
    if not pooler.matryoshka:
        width = model.vector_width
        text = (
            f"The vectors of the model `{name}` have {width} numbers, and it does not say that "
            f"it was made for fewer."
        )
        raise refuse("unsupported", text, "dimensions", "unsupported")
    if wanted > model.vector_width or (pooler.dimensions and wanted not in pooler.dimensions):
        known = ", ".join(map(str, pooler.dimensions)) or f"1 to {model.vector_width}"
        raise refuse(
            "invalid_request",
            f"The vectors of this model may have {known} numbers.",
            "dimensions",
            "out_of_range",
        )
