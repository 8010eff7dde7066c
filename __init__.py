"""Thespis: a multimodal LLM engine played by actors. The public names are loaded on first use, so
importing is free."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .frontends.inputs.embeds import encode_embeds
    from .frontends.inputs.prompt_types import EmbedsPrompt, TextPrompt, TokensPrompt
    from .frontends.python.async_llm import AsyncLLM
    from .frontends.python.llm import LLM
    from .frontends.python.outputs import RequestOutput
    from .frontends.python.scores import RankedDocument, ScoringRequestOutput
    from .frontends.python.vectors import EmbeddingRequestOutput, PoolingRequestOutput
    from .frontends.ray.batches.batch import BatchEnd, batch
    from .protocol.errors import EngineError, RequestError
    from .protocol.requests.guide import StructuredOutputsParams
    from .protocol.requests.pooling import PoolingParams
    from .protocol.requests.sampling import SamplingParams

    __version__: str

__all__ = [
    "LLM",
    "AsyncLLM",
    "BatchEnd",
    "EmbeddingRequestOutput",
    "EmbedsPrompt",
    "EngineError",
    "PoolingParams",
    "PoolingRequestOutput",
    "RankedDocument",
    "RequestError",
    "RequestOutput",
    "SamplingParams",
    "ScoringRequestOutput",
    "StructuredOutputsParams",
    "TextPrompt",
    "TokensPrompt",
    "__version__",
    "batch",
    "encode_embeds",
]

_HOMES = {
    "LLM": ".frontends.python.llm",
    "AsyncLLM": ".frontends.python.async_llm",
    "BatchEnd": ".frontends.ray.batches.batch",
    "EmbeddingRequestOutput": ".frontends.python.vectors",
    "EmbedsPrompt": ".frontends.inputs.prompt_types",
    "EngineError": ".protocol.errors",
    "PoolingParams": ".protocol.requests.pooling",
    "PoolingRequestOutput": ".frontends.python.vectors",
    "RankedDocument": ".frontends.python.scores",
    "RequestError": ".protocol.errors",
    "RequestOutput": ".frontends.python.outputs",
    "SamplingParams": ".protocol.requests.sampling",
    "ScoringRequestOutput": ".frontends.python.scores",
    "StructuredOutputsParams": ".protocol.requests.guide",
    "TextPrompt": ".frontends.inputs.prompt_types",
    "TokensPrompt": ".frontends.inputs.prompt_types",
    "batch": ".frontends.ray.batches.batch",
    "encode_embeds": ".frontends.inputs.embeds",
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
