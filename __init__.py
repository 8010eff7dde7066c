"""Thespis: a multimodal LLM engine played by actors. The public names are loaded on first use, so importing is free."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .frontends.async_llm import AsyncLLM
    from .frontends.embeds import encode_embeds
    from .frontends.llm import LLM
    from .frontends.outputs import RequestOutput
    from .frontends.prompts import EmbedsPrompt, TextPrompt, TokensPrompt
    from .frontends.vectors import EmbeddingRequestOutput, PoolingRequestOutput
    from .protocol.errors import EngineError, RequestError
    from .protocol.guide import StructuredOutputsParams
    from .protocol.pooling import PoolingParams
    from .protocol.sampling import SamplingParams

    __version__: str

__all__ = [
    "LLM",
    "AsyncLLM",
    "EmbeddingRequestOutput",
    "EmbedsPrompt",
    "EngineError",
    "PoolingParams",
    "PoolingRequestOutput",
    "RequestError",
    "RequestOutput",
    "SamplingParams",
    "StructuredOutputsParams",
    "TextPrompt",
    "TokensPrompt",
    "__version__",
    "encode_embeds",
]

_HOMES = {
    "LLM": ".frontends.llm",
    "AsyncLLM": ".frontends.async_llm",
    "EmbeddingRequestOutput": ".frontends.vectors",
    "EmbedsPrompt": ".frontends.prompts",
    "EngineError": ".protocol.errors",
    "PoolingParams": ".protocol.pooling",
    "PoolingRequestOutput": ".frontends.vectors",
    "RequestError": ".protocol.errors",
    "RequestOutput": ".frontends.outputs",
    "SamplingParams": ".protocol.sampling",
    "StructuredOutputsParams": ".protocol.guide",
    "TextPrompt": ".frontends.prompts",
    "TokensPrompt": ".frontends.prompts",
    "encode_embeds": ".frontends.embeds",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from .protocol.version import version

        return version()
    if name not in _HOMES:
        raise AttributeError(f"module 'thespis' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
