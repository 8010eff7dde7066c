"""What `embed` and `encode` return. Names and shapes are those that users of vLLM know."""

import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ...protocol.requests.pooling import TASKS, PoolingParams
from ..client.answer import Answer
from ..client.stream import Stream
from .moment import Moment
from .outputs import RequestMetrics, measure

if TYPE_CHECKING:
    import torch

NO_TASK = (
    f"encode needs a pooling_task: one of {', '.join(TASKS)}; for the vectors of whole prompts "
    f"there is embed."
)


class EmbeddingOutput(msgspec.Struct):
    """The vector of one prompt."""

    embedding: list[float]

    @property
    def hidden_size(self) -> int:
        """How many numbers it has."""
        return len(self.embedding)


class PoolingOutput(msgspec.Struct):
    """What a pooling task made of one prompt."""

    raw: bytes
    """float32 little endian."""
    shape: tuple[int, ...]
    """(width,), or (tokens, width) where each token has a vector."""

    @property
    def data(self) -> "torch.Tensor":
        """float32, of `shape`. Imports torch."""
        import torch

        return torch.from_numpy(np.frombuffer(self.raw, "<f4").astype(np.float32)).view(self.shape)


class _Output(msgspec.Struct, kw_only=True):
    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    metrics: RequestMetrics
    finished: bool = True

    @property
    def num_cached_tokens(self) -> int:
        """Tokens of the prompt that were found in the prefix cache."""
        return self.metrics.cached_tokens


class EmbeddingRequestOutput(_Output, kw_only=True):
    """The answer of `embed` to one prompt."""

    outputs: EmbeddingOutput


class PoolingRequestOutput(_Output, kw_only=True):
    """The answer of `encode` to one prompt."""

    outputs: PoolingOutput

    def as_embedding(self) -> EmbeddingRequestOutput:
        """Of the task `embed`."""
        fields = {name: getattr(self, name) for name in _Output.__struct_fields__}
        numbers = np.frombuffer(self.outputs.raw, "<f4").tolist()
        return EmbeddingRequestOutput(outputs=EmbeddingOutput(numbers), **fields)


async def collect_vectors(
    stream: Stream, prompt: str | None, pooling: PoolingParams, arrival: Moment
) -> PoolingRequestOutput:
    """Read the stream to its end. `prompt`: as the caller wrote it; `arrival`: of the call."""
    answer, metrics = Answer(0), RequestMetrics(arrival.unix)
    async for update in stream:
        answer.note(update)
    metrics.finished = arrival.unix_at(time.monotonic())
    measure(metrics, answer.finished, arrival)
    metrics.sources = stream.sources
    made = answer.pooled
    width = len(made.data) // 4 // made.rows
    shape = (width,) if pooling.task == "embed" else (made.rows, width)
    return PoolingRequestOutput(
        request_id=stream.id,
        prompt=stream.prompt_text if prompt is None else prompt,
        prompt_token_ids=list(stream.prompt_token_ids),
        outputs=PoolingOutput(made.data, shape),
        metrics=metrics,
    )


def with_task(params: PoolingParams | None, task: str | None) -> PoolingParams:
    """What `encode` is given. Raises TypeError, and ValueError for no task or an unknown one."""
    if not isinstance(params, PoolingParams | None):
        raise TypeError("pooling_params are PoolingParams(...), one or a list with one per prompt.")
    if params is None and task is None:
        raise ValueError(NO_TASK)
    given = params or PoolingParams()
    return (
        given if task is None else PoolingParams(**(msgspec.structs.asdict(given) | {"task": task}))
    )
