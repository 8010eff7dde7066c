"""Each role's part of the configuration. Frozen Structs; a process gets its own as JSON in
`Welcome`, and no other."""

from typing import Any, NamedTuple

import msgspec

from ..facts import ModelFacts
from ..requests.pooling import Pooler
from ..requests.request import MODALITIES, Modality
from ..topology import ENCODER_CACHE, GPU_RUNNER
from .engine import EngineConfig, Quantization, RunnerKind
from .room import Room
from .server import ServerConfig
from .speculation import Speculation


class FactsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For the process that finds out what the model is; all other parts are made of its answer."""

    model: str
    """The checkpoint's folder."""
    cuda: bool
    """The model will be on a GPU."""
    runner: RunnerKind = "auto"
    """What it will be run for."""
    ranks: int = 1
    """Processes that will compute it together."""


class FetcherConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    allowed_domains: tuple[str, ...]
    allow_private: bool
    local_path: str | None
    timeouts: dict[str, float]
    """Seconds per modality, for the whole fetch."""
    retries: int
    redirects: int
    """Hops; 0 forbids them."""
    max_bytes: int
    """Of one download."""
    arena_bytes: int
    cache_path: str | None = None
    """Where downloads are kept on disk; None: they are not."""
    cache_bytes: int = 0
    cache_seconds: float = 0.0
    """How long a download is kept, at most."""


PAGE_PIXELS = 100_000_000
"""Of a page as it is drawn, for which it has `page_seconds` once more."""


class MediaLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Checked before the allocation that each limits."""

    pixels: int = 178_956_970
    audio_seconds: float = 600.0
    audio_bytes: int = 256 << 20
    cut_seconds: float = 14_400.0
    """Of a sound that is decoded piece by piece."""
    embeds_bytes: int = 2 << 30
    video_seconds: float = 300.0
    video_pixels: int = 40_000_000_000
    """Of all frames of a clip together."""
    document_pages: int = 1000
    """Of one document, at most."""
    image_seconds: float = 10.0
    """CPU time for one picture in a worker."""
    page_seconds: float = 3.0
    """CPU time for one page of a document at its usual size, or for the texts of a few pages."""
    decode_seconds: float = 60.0
    """CPU time for any item in a worker. A little more of wall clock, and the worker is killed."""
    memory: int = 2 << 30
    """Bytes a worker may add to what it held when it began."""

    def cpu_seconds(self, modality: str) -> float:
        """CPU time that decoding one item of a kind may take."""
        most = self.image_seconds if modality == "image" else self.decode_seconds
        return min(most, self.decode_seconds)

    def page_cpu_seconds(self, pixels: int) -> float:
        """Of a page that is drawn with so many; no more than a picture has."""
        seconds = self.page_seconds * (1 + pixels / PAGE_PIXELS)
        return min(seconds, self.cpu_seconds("image"))


class PreprocessorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For the preprocessor's shell and, unchanged, for its decode workers."""

    model: ModelFacts
    max_model_len: int
    chat_template: str | None
    """Its source."""
    reasoning_parser: str = "none"
    """How the model marks its thinking, as `EngineConfig` has it."""
    limits_per_prompt: dict[str, Any]
    io_kwargs: dict[str, dict[str, Any]]
    processor_kwargs: dict[str, Any]
    hasher: str
    enable_embeds: bool
    enable_prompt_embeds: bool
    ignore_ids: bool = False
    """Nothing is kept that an id could name: neither features nor prefixes."""
    cache_bytes: int
    """Features kept for reuse, over all workers."""
    workers: int
    media: MediaLimits
    recalls: bool = False
    """The encoder-cache keeps items on disk, and is asked for each that is not here."""


class Threads(NamedTuple):
    """On which one process computes."""

    alone: int
    """While nobody else computes here."""
    beside: int
    """While somebody else does."""
    long: int
    """While nobody else does, for the attention of long chunks of prompts: it keeps more busy than
    a small model's products."""


class DiskTier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where embeddings are kept across restarts."""

    folder: str
    max_bytes: int


class EncoderCacheConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: ModelFacts
    dtype: str
    device: str
    threads: Threads
    native_kernels: bool
    """As the runner's."""
    store_bytes: int
    modalities: tuple[Modality, ...] = MODALITIES
    """What will have to be encoded; towers that take nothing else are not loaded."""
    max_batch_rows: int
    """Embedding rows encoded in one batch; bounds how long a small item waits behind large ones."""
    deterministic: bool = False
    """By operations that always add up in the same order."""
    disk: DiskTier | None = None
    """None: embeddings are kept in memory alone."""
    sharing: tuple[str, ...] = (GPU_RUNNER,)
    """Roles that compute on the same cores."""
    ranks: int = 1
    """GPUs that the model is on, the first ones."""


class SchedulerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    max_num_seqs: int
    max_batched_tokens: int
    max_model_len: int
    attention_even: int
    """Position at which a token's attention costs as much as all else of it."""
    block_size: int
    windows: tuple[int | None, ...]
    """Of the model's block tables: tokens that their layers look back; None: all."""
    room: Room | None
    """None: as the runner reports in its Ready."""
    prefix_caching: bool
    tile: int | None = None
    """Tokens: prompts are cut at its multiples, so that an answer does not depend on its company;
    None: as it suits."""
    rope_bound: int | None
    """Tokens: longer prompts share their beginnings with those of their own length alone."""
    answers_apart: bool
    """What an answer's tokens leave is not what the same tokens of a prompt would: no prompt goes
    on from it."""
    pooler: Pooler | None = None
    """Of a model that makes vectors."""
    speculation: Speculation | None = None
    """How tokens are guessed; None: they are not."""
    hidden_bytes: int
    """Bytes of one embedding row."""
    store_bytes: int
    """The encoder-cache's space: a request whose items can never fit is refused at the door."""


class RunnerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: ModelFacts
    rank: int = 0
    """Which one of `ranks` this is."""
    ranks: int = 1
    """Processes that compute the model together, each with its part of every layer."""
    dtype: str
    device: str
    threads: Threads
    native_kernels: bool
    """On a CPU: kernels built by its compiler, where it has one; on a GPU Triton's."""
    eager: bool = False
    """Every step is launched anew; else a GPU repeats recorded ones."""
    deterministic: bool = False
    """Every piece of a plan is computed alone, by operations that always add up in the same
    order."""
    quantization: Quantization = None
    """How the weights of linear layers are held, where that is not as numbers of `dtype`."""
    block_size: int
    room: Room | None
    """None: as much as fits in the GPU's memory."""
    max_num_seqs: int
    max_batched_tokens: int
    max_model_len: int
    gpu_memory_utilization: float
    sharing: tuple[str, ...] = (ENCODER_CACHE,)
    """Roles that compute on the same cores."""


class DetokenizerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: ModelFacts


class ClientConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every client learns at Hello."""

    model: ModelFacts
    name: str
    """Of the model, as callers see it."""
    max_model_len: int
    seed: int
    roles: tuple[str, ...] = ()
    """The engine is ready when all of these are there."""


class HttpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    client: ClientConfig
    dtype: str
    """In which the model computes."""
    server: ServerConfig
    engine: EngineConfig


RoleConfig = (
    FactsConfig
    | FetcherConfig
    | PreprocessorConfig
    | EncoderCacheConfig
    | SchedulerConfig
    | RunnerConfig
    | DetokenizerConfig
    | ClientConfig
    | HttpConfig
)


def encode_config(config: msgspec.Struct) -> bytes:
    return msgspec.json.encode(config)
