"""Thespis: a multimodal LLM engine played by actors. The public names are loaded on first use, so importing is free."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .frontends.async_llm import AsyncLLM
    from .frontends.llm import LLM
    from .protocol.guide import StructuredOutputsParams
    from .protocol.sampling import SamplingParams

__all__ = ["LLM", "AsyncLLM", "SamplingParams", "StructuredOutputsParams"]

_HOMES = {
    "LLM": ".frontends.llm",
    "AsyncLLM": ".frontends.async_llm",
    "SamplingParams": ".protocol.sampling",
    "StructuredOutputsParams": ".protocol.guide",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'thespis' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name], __name__), name)
