"""Who talks to whom. `python -m thespis.protocol.topology` prints it as the docs' picture."""

from typing import Any, NamedTuple

from .edges.client_to_encoder_cache import ClientToEncoderCache
from .edges.client_to_fetcher import ClientToFetcher
from .edges.client_to_preprocessor import ClientToPreprocessor
from .edges.client_to_scheduler import ClientToScheduler
from .edges.decode_worker_to_preprocessor import DecodeWorkerToPreprocessor
from .edges.detokenizer_to_client import DetokenizerToClient
from .edges.detokenizer_to_scheduler import DetokenizerToScheduler
from .edges.encode_worker_to_encoder_cache import EncodeWorkerToEncoderCache
from .edges.encoder_cache_to_client import EncoderCacheToClient
from .edges.encoder_cache_to_encode_worker import EncoderCacheToEncodeWorker
from .edges.encoder_cache_to_preprocessor import EncoderCacheToPreprocessor
from .edges.encoder_cache_to_scheduler import EncoderCacheToScheduler
from .edges.fetcher_to_client import FetcherToClient
from .edges.fetcher_to_preprocessor import FetcherToPreprocessor
from .edges.gpu_runner_to_scheduler import GpuRunnerToScheduler
from .edges.preprocessor_to_client import PreprocessorToClient
from .edges.preprocessor_to_decode_worker import PreprocessorToDecodeWorker
from .edges.preprocessor_to_encoder_cache import PreprocessorToEncoderCache
from .edges.preprocessor_to_fetcher import PreprocessorToFetcher
from .edges.preprocessor_to_scheduler import PreprocessorToScheduler
from .edges.scheduler_to_client import SchedulerToClient
from .edges.scheduler_to_detokenizer import SchedulerToDetokenizer
from .edges.scheduler_to_encoder_cache import SchedulerToEncoderCache
from .edges.scheduler_to_gpu_runner import SchedulerToGpuRunner

DIRECTOR = "director"
CLIENT = "client"
FETCHER = "fetcher"
PREPROCESSOR = "preprocessor"
DECODE_WORKER = "decode-worker"
ENCODER_CACHE = "encoder-cache"
ENCODE_WORKER = "encode-worker"
SCHEDULER = "scheduler"
GPU_RUNNER = "gpu-runner"
RANK = "gpu-runner-rank"
DETOKENIZER = "detokenizer"
HTTP = "http"
FACTS = "facts"
"""The roles. Clients are `http` and `client-<name>`, decode workers `decode-worker-<n>`, encode
workers `encode-worker-<n>` from 1 on, ranks `gpu-runner-<n>` from 1 on, of which `gpu-runner` is
the first: `kind_of`. `facts` ends when it has told the director what the model is."""


class Edge(NamedTuple):
    sender: str
    receiver: str
    union: Any
    bound: int
    """Messages that may wait on it. Admission keeps far below; a full edge is a fault."""


EDGES: tuple[Edge, ...] = (
    Edge(CLIENT, FETCHER, ClientToFetcher, 4096),
    Edge(CLIENT, PREPROCESSOR, ClientToPreprocessor, 4096),
    Edge(CLIENT, SCHEDULER, ClientToScheduler, 8192),
    Edge(CLIENT, ENCODER_CACHE, ClientToEncoderCache, 4096),
    Edge(FETCHER, PREPROCESSOR, FetcherToPreprocessor, 4096),
    Edge(FETCHER, CLIENT, FetcherToClient, 4096),
    Edge(PREPROCESSOR, FETCHER, PreprocessorToFetcher, 4096),
    Edge(PREPROCESSOR, DECODE_WORKER, PreprocessorToDecodeWorker, 4096),
    Edge(DECODE_WORKER, PREPROCESSOR, DecodeWorkerToPreprocessor, 4096),
    Edge(PREPROCESSOR, SCHEDULER, PreprocessorToScheduler, 4096),
    Edge(PREPROCESSOR, ENCODER_CACHE, PreprocessorToEncoderCache, 16384),
    Edge(PREPROCESSOR, CLIENT, PreprocessorToClient, 4096),
    Edge(ENCODER_CACHE, PREPROCESSOR, EncoderCacheToPreprocessor, 16384),
    Edge(ENCODER_CACHE, SCHEDULER, EncoderCacheToScheduler, 16384),
    Edge(ENCODER_CACHE, CLIENT, EncoderCacheToClient, 4096),
    Edge(ENCODER_CACHE, ENCODE_WORKER, EncoderCacheToEncodeWorker, 1024),
    Edge(ENCODE_WORKER, ENCODER_CACHE, EncodeWorkerToEncoderCache, 1024),
    Edge(SCHEDULER, ENCODER_CACHE, SchedulerToEncoderCache, 16384),
    Edge(SCHEDULER, GPU_RUNNER, SchedulerToGpuRunner, 64),
    Edge(SCHEDULER, DETOKENIZER, SchedulerToDetokenizer, 65536),
    Edge(SCHEDULER, CLIENT, SchedulerToClient, 4096),
    Edge(GPU_RUNNER, SCHEDULER, GpuRunnerToScheduler, 64),
    Edge(GPU_RUNNER, RANK, SchedulerToGpuRunner, 64),
    Edge(DETOKENIZER, SCHEDULER, DetokenizerToScheduler, 65536),
    Edge(DETOKENIZER, CLIENT, DetokenizerToClient, 65536),
)


def kind_of(role: str) -> str:
    """Its row of the table: `client-7f3a`, `http` -> `client`, `decode-worker-0` ->
    `decode-worker`, `gpu-runner-1` -> `gpu-runner-rank`. The same of a name (`name_of`)."""
    for kind in (CLIENT, DECODE_WORKER, ENCODE_WORKER):
        if role == kind or role.startswith(f"{kind}-"):
            return kind
    if role.startswith(f"{GPU_RUNNER}-"):
        return RANK
    return CLIENT if role.partition(".")[0] == HTTP else role


def name_of(role: str, epoch: int) -> str:
    """By which others write to it: its role, whoever plays that now. A client is one incarnation,
    `http.2`, as in `Request.client`: what was asked by another is not for it."""
    return f"{role}.{epoch}" if kind_of(role) == CLIENT else role


def edges_from(role: str) -> dict[str, Edge]:
    """By kind of receiver."""
    return {edge.receiver: edge for edge in EDGES if edge.sender == kind_of(role)}


def edges_to(role: str) -> dict[str, Edge]:
    """By kind of sender."""
    return {edge.sender: edge for edge in EDGES if edge.receiver == kind_of(role)}


def picture() -> str:
    """The table as a Mermaid flow chart; an arrow with two heads is an edge each way."""
    pairs = dict.fromkeys((edge.sender, edge.receiver) for edge in EDGES)
    lines: list[str] = []
    for sender, receiver in pairs:
        both, drawn = (receiver, sender) in pairs, f"    {receiver} <--> {sender}" in lines
        if not drawn:
            lines.append(f"    {sender} {'<-->' if both else '-->'} {receiver}")
    return "\n".join(["flowchart LR", *lines])


if __name__ == "__main__":
    print(picture())
