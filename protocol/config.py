"""Configuration: what a user may set (`EngineConfig`), and each role's own part of it, derived once in `divide`.

Frozen Structs, JSON between processes. THESPIS_* variables are read in `divide` alone; protocol/environment.py lists them.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec

from . import environment
from .checkpoint import ModelInfo, demo_model
from .edges.control import Share
from .environment import NO_LIMIT, Environment, cap
from .errors import EngineError


def doc(text: str) -> msgspec.Meta:
    """A field's line in --help; the unit stands in it."""
    return msgspec.Meta(description=text)


LIMITED_SIZES = {"image": ("width", "height"), "video": ("num_frames", "width", "height"), "audio": ()}
"""What a limit per prompt may say of an item beside the count of items: the most that requests may ask for."""
LEAST_REQUESTS = 128
"""In the engine at once, unless told otherwise. As many wait as run, so that a flood's last request is answered a batch later:
a deeper queue makes everybody wait, and nobody's answer come sooner."""


class EngineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `LLM(...)`, `AsyncLLM(...)` and `thespis serve` take. Raises ValueError naming the field."""

    model: Annotated[str, doc("folder of a Hugging Face checkpoint; default: the bundled demo model")] = ""
    served_model_name: Annotated[str | None, doc("name in /v1/models and in answers; default: the folder's name")] = None
    dtype: Annotated[
        str, doc("of weights and computation: auto (as on disk on a GPU, float32 on a CPU), float32, bfloat16, float16")
    ] = "auto"
    device: Annotated[str, doc("auto, cpu or cuda")] = "auto"
    seed: Annotated[int, doc("from which requests without a seed of their own draw theirs")] = 0
    max_model_len: Annotated[int | None, doc("tokens of prompt and output together; default: the model's own context")] = None
    max_num_seqs: Annotated[int, doc("sequences that run at once")] = 64
    max_num_batched_tokens: Annotated[int, doc("tokens computed in one step; longer prompts are prefilled in chunks")] = 512
    block_size: Annotated[int, doc("tokens per KV block")] = 16
    kv_cache_gb: Annotated[
        float | None, doc("GiB of KV cache; default: enough for max_num_seqs whole contexts, at most 1 GiB on a CPU")
    ] = None
    gpu_memory_utilization: Annotated[float, doc("share of a GPU's memory that weights and KV cache may take")] = 0.9
    enable_prefix_caching: Annotated[bool, doc("reuse the KV blocks of equal prompt beginnings")] = True
    enforce_eager: Annotated[bool, doc("no CUDA graphs")] = False
    runner_threads: Annotated[int, doc("CPU threads of the GPU runner; 0: half of the cores, at least 1")] = 0
    encoder_threads: Annotated[int, doc("CPU threads of the encoder; 0: the rest of the cores, at least 1")] = 0
    trust_remote_code: Annotated[bool, doc("accepted for compatibility; no code from a checkpoint is ever run")] = False
    chat_template: Annotated[
        str | None, doc("file, literal Jinja or the name of a built-in one; default: the checkpoint's own, else its family's")
    ] = None
    trust_request_chat_template: Annotated[bool, doc("let a request bring its own chat template")] = False
    limit_mm_per_prompt: Annotated[
        dict[str, Any], doc("items per prompt and modality, and their sizes, as JSON; default 999 each")
    ] = {}
    media_io_kwargs: Annotated[dict[str, dict[str, Any]], doc("options of decoding per modality, as JSON")] = {}
    mm_processor_kwargs: Annotated[dict[str, Any], doc("options of the model's processor, as JSON")] = {}
    mm_processor_cache_gb: Annotated[float, doc("GiB of prepared features kept for reuse; 0 switches the cache off")] = 4.0
    mm_hasher_algorithm: Annotated[str, doc("digest of media content: blake3, sha256 or sha512")] = "blake3"
    enable_mm_embeds: Annotated[bool, doc("take ready-made embeddings as input")] = False
    encoder_cache_gb: Annotated[float, doc("GiB of embeddings kept in memory")] = 0.5
    decode_workers: Annotated[int, doc("processes that decode media")] = 1
    allowed_local_media_path: Annotated[str | None, doc("folder below which file: URLs may read; default: none may")] = None
    allowed_media_domains: Annotated[tuple[str, ...], doc("host names media may come from; default: any public one")] = ()
    allow_private_media: Annotated[bool, doc("let media URLs reach private and loopback addresses")] = False
    media_cache: Annotated[
        str | None, doc("folder that keeps downloads across requests and restarts; default: THESPIS_MEDIA_CACHE, else none")
    ] = None
    media_cache_max_size_mb: Annotated[
        float | None, doc("MiB in that folder; default: THESPIS_MEDIA_CACHE_MAX_SIZE_MB, else 5120")
    ] = None
    media_cache_ttl_hours: Annotated[
        float | None, doc("hours for which a download is kept; default: THESPIS_MEDIA_CACHE_TTL_HOURS, else 24")
    ] = None
    max_requests: Annotated[
        int | None,
        doc("requests in the engine at once, over all clients; beyond: 429; default: twice max_num_seqs, at least 128"),
    ] = None
    max_inflight_tokens: Annotated[int, doc("prompt and output tokens of all accepted requests together; beyond: 429")] = (
        4_000_000
    )
    max_media_gb: Annotated[float, doc("GiB of media of all accepted requests together; beyond: 429")] = 1.0

    def __post_init__(self) -> None:
        if not self.model:
            msgspec.structs.force_setattr(self, "model", str(demo_model()))
        for name in ("max_num_seqs", "max_num_batched_tokens", "block_size", "decode_workers", "max_requests"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.max_model_len is not None and self.max_model_len < 1:
            raise ValueError(f"max_model_len must be at least 1, got {self.max_model_len}.")
        if self.dtype not in ("auto", "float32", "bfloat16", "float16"):
            raise ValueError(f"dtype must be auto, float32, bfloat16 or float16, got {self.dtype}.")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device must be auto, cpu or cuda, got {self.device}.")
        if self.mm_hasher_algorithm not in ("blake3", "sha256", "sha512"):
            raise ValueError(f"mm_hasher_algorithm must be blake3, sha256 or sha512, got {self.mm_hasher_algorithm}.")
        for name in ("media_cache_max_size_mb", "media_cache_ttl_hours"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1 << 40:
                raise ValueError(f"{name} must be above 0, got {value}.")
        for modality, limit in self.limit_mm_per_prompt.items():
            if modality not in ("image", "video", "audio"):
                raise ValueError(f"Unsupported modality: {modality}")
            _check_limit(modality, limit)

    @property
    def name(self) -> str:
        return self.served_model_name or Path(self.model).name


def _check_limit(modality: str, limit: Any) -> None:
    """One entry of `limit_mm_per_prompt`. Raises ValueError."""
    given = limit if isinstance(limit, dict) else {"count": limit}
    count = given.get("count", 0)
    if type(count) is not int or count < 0:
        raise ValueError(f"limit_mm_per_prompt: {modality} must be a count, or a dict with one, got {limit}.")
    sizes = {name: size for name, size in given.items() if name != "count"}
    if not sizes.keys() <= set(LIMITED_SIZES[modality]) or not all(type(size) is int and size > 0 for size in sizes.values()):
        known = ", ".join(("count", *LIMITED_SIZES[modality]))
        raise ValueError(f"limit_mm_per_prompt: of {modality} there are {known}, as positive numbers; got {limit}.")


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The HTTP frontend's own settings."""

    host: Annotated[str, doc("address to listen on")] = "127.0.0.1"
    port: Annotated[int, doc("port to listen on; 0: any free one")] = 8000
    api_key: Annotated[tuple[str, ...], doc("keys that callers must send as a bearer token; default: none is asked")] = ()
    drain_timeout: Annotated[float, doc("seconds that accepted requests may take after SIGTERM")] = 30.0
    tool_call_parser: Annotated[
        str, doc("how the model writes tool calls: hermes, json, or auto (as its chat template says)")
    ] = "auto"
    max_body_mb: Annotated[
        float, doc("MiB of one request's body, beyond: 413; all that are being read take twice that, beyond: 429")
    ] = 256.0
    listen_fd: int | None = None
    """An already bound socket handed down by the command, so that the port is known before any process starts."""

    def __post_init__(self) -> None:
        if self.tool_call_parser not in ("auto", "hermes", "json"):
            raise ValueError(f"tool_call_parser must be auto, hermes or json, got {self.tool_call_parser}.")


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


class MediaLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Checked before the allocation that each limits."""

    pixels: int = 178_956_970
    audio_seconds: float = 600.0
    audio_bytes: int = 256 << 20
    embeds_bytes: int = 2 << 30
    video_seconds: float = 300.0
    video_frames: int = 32
    decode_seconds: float = 60.0
    """Wall clock for one item in a worker; beyond it the worker is killed."""
    memory: int = 2 << 30
    """Bytes a worker may add to what it held when it began."""


class PreprocessorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For the preprocessor's shell and, unchanged, for its decode workers."""

    model: ModelInfo
    max_model_len: int
    chat_template: str | None
    """Its source."""
    limits_per_prompt: dict[str, Any]
    io_kwargs: dict[str, dict[str, Any]]
    processor_kwargs: dict[str, Any]
    hasher: str
    enable_embeds: bool
    ignore_ids: bool = False
    """Nothing is kept that an id could name: neither features nor prefixes."""
    cache_bytes: int
    """Features kept for reuse, over all workers."""
    workers: int
    media: MediaLimits


class EncoderCacheConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: ModelInfo
    dtype: str
    device: str
    threads: int
    store_bytes: int
    max_batch_rows: int
    """Embedding rows encoded in one batch; bounds how long a small item waits behind large ones."""


class SchedulerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    max_num_seqs: int
    max_batched_tokens: int
    max_model_len: int
    block_size: int
    num_blocks: int
    """KV blocks; 0: as many as the runner reports in its Ready."""
    prefix_caching: bool
    hidden_bytes: int
    """Bytes of one embedding row."""
    store_bytes: int
    """The encoder-cache's space: a request whose items can never fit is refused at the door."""


class RunnerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: ModelInfo
    dtype: str
    device: str
    threads: int
    block_size: int
    num_blocks: int
    """0: as many as fit in the GPU's memory."""
    max_num_seqs: int
    max_batched_tokens: int
    max_model_len: int
    gpu_memory_utilization: float
    enforce_eager: bool


class DetokenizerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: ModelInfo


class ClientConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every client learns at Hello."""

    model: ModelInfo
    name: str
    """Of the model, as callers see it."""
    max_model_len: int
    seed: int
    arena_bytes: int
    """Of media in this client's shared memory."""
    roles: tuple[str, ...] = ()
    """The engine is ready when all of these are there."""


class HttpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: ModelInfo
    name: str
    max_model_len: int
    server: ServerConfig
    engine: EngineConfig


RoleConfig = (
    FetcherConfig
    | PreprocessorConfig
    | EncoderCacheConfig
    | SchedulerConfig
    | RunnerConfig
    | DetokenizerConfig
    | ClientConfig
    | HttpConfig
)


class Division(msgspec.Struct, frozen=True, kw_only=True):
    """Each role's part, by role (all clients under `client`), and what all clients may hold together."""

    roles: dict[str, RoleConfig]
    share: Share
    max_model_len: int
    name: str


def divide(engine: EngineConfig, model: ModelInfo, cuda: bool = False, server: ServerConfig | None = None) -> Division:
    """Derive every role's configuration. The one place where derived numbers are computed, and where the environment is read.

    `cuda`: whether device "auto" means a GPU here. Raises EngineError for settings that contradict the model.
    """
    variables = environment.read()
    device = engine.device if engine.device != "auto" else ("cuda" if cuda else "cpu")
    dtype = engine.dtype if engine.dtype != "auto" else ("float32" if device == "cpu" else model.dtype)
    context = engine.max_model_len or model.context
    if context > model.context:
        raise EngineError(f"max_model_len={context} is more than the model's context of {model.context} tokens.")
    cores = max(1, len(os.sched_getaffinity(0)))
    runner_threads = engine.runner_threads or max(1, cores // 2)
    encoder_threads = engine.encoder_threads or max(1, cores - runner_threads)
    itemsize = 4 if dtype == "float32" else 2
    block_bytes = 2 * model.layers * engine.block_size * model.kv_heads * model.head_dim * itemsize
    blocks_per_seq = -(-context // engine.block_size)
    if engine.kv_cache_gb is not None:
        num_blocks = int(engine.kv_cache_gb * (1 << 30)) // block_bytes
    elif device == "cpu":
        num_blocks = min(blocks_per_seq * engine.max_num_seqs, max(blocks_per_seq, (1 << 30) // block_bytes)) + 1
    else:
        num_blocks = 0
    if device == "cpu" and num_blocks < 2:
        raise EngineError(f"kv_cache_gb={engine.kv_cache_gb} holds less than two blocks of {block_bytes} bytes.")
    store = int(engine.encoder_cache_gb * (1 << 30))
    hidden_bytes = model.hidden * itemsize
    roles: dict[str, RoleConfig] = {
        "fetcher": _fetcher(engine, variables),
        "preprocessor": PreprocessorConfig(
            model=model,
            max_model_len=context,
            chat_template=engine.chat_template,
            limits_per_prompt=engine.limit_mm_per_prompt,
            io_kwargs=engine.media_io_kwargs,
            processor_kwargs=engine.mm_processor_kwargs,
            hasher=engine.mm_hasher_algorithm,
            enable_embeds=engine.enable_mm_embeds,
            ignore_ids=not engine.mm_processor_cache_gb and not engine.enable_prefix_caching,
            cache_bytes=int(engine.mm_processor_cache_gb * (1 << 30)),
            workers=engine.decode_workers,
            media=_media_limits(variables),
        ),
        "encoder-cache": EncoderCacheConfig(
            model=model,
            dtype=dtype,
            device=device,
            threads=encoder_threads,
            store_bytes=store,
            max_batch_rows=4096,
        ),
        "scheduler": SchedulerConfig(
            max_num_seqs=engine.max_num_seqs,
            max_batched_tokens=engine.max_num_batched_tokens,
            max_model_len=context,
            block_size=engine.block_size,
            num_blocks=num_blocks,
            prefix_caching=engine.enable_prefix_caching,
            hidden_bytes=hidden_bytes,
            store_bytes=store,
        ),
        "gpu-runner": RunnerConfig(
            model=model,
            dtype=dtype,
            device=device,
            threads=runner_threads,
            block_size=engine.block_size,
            num_blocks=num_blocks,
            max_num_seqs=engine.max_num_seqs,
            max_batched_tokens=engine.max_num_batched_tokens,
            max_model_len=context,
            gpu_memory_utilization=engine.gpu_memory_utilization,
            enforce_eager=engine.enforce_eager,
        ),
        "detokenizer": DetokenizerConfig(model=model),
    }
    for worker in range(engine.decode_workers):
        roles[f"decode-worker-{worker}"] = roles["preprocessor"]
    roles["client"] = ClientConfig(
        model=model,
        name=engine.name,
        max_model_len=context,
        seed=engine.seed,
        arena_bytes=int(engine.max_media_gb * (1 << 30)),
        roles=tuple(roles),
    )
    if server is not None:
        roles["http"] = HttpConfig(model=model, name=engine.name, max_model_len=context, server=server, engine=engine)
    requests = engine.max_requests or max(LEAST_REQUESTS, 2 * engine.max_num_seqs)
    share = Share(requests, engine.max_inflight_tokens, int(engine.max_media_gb * (1 << 30)))
    return Division(roles=roles, share=share, max_model_len=context, name=engine.name)


def _fetcher(engine: EngineConfig, variables: Environment) -> FetcherConfig:
    """A flag wins over its variable."""
    size_mb = engine.media_cache_max_size_mb or variables.media_cache_max_size_mb
    return FetcherConfig(
        allowed_domains=engine.allowed_media_domains,
        allow_private=engine.allow_private_media,
        local_path=engine.allowed_local_media_path,
        timeouts={
            "image": variables.image_fetch_timeout,
            "video": variables.video_fetch_timeout,
            "audio": variables.audio_fetch_timeout,
        },
        retries=variables.media_fetch_max_retries,
        redirects=3 if variables.media_url_allow_redirects else 0,
        max_bytes=cap(variables.max_media_download_size_mb, 1 << 20),
        arena_bytes=int(engine.max_media_gb * (1 << 30)),
        cache_path=engine.media_cache or variables.media_cache or None,
        cache_bytes=int(size_mb * (1 << 20)),
        cache_seconds=3600.0 * (engine.media_cache_ttl_hours or variables.media_cache_ttl_hours),
    )


def _media_limits(variables: Environment) -> MediaLimits:
    return MediaLimits(
        pixels=cap(variables.max_image_pixels),
        audio_seconds=variables.max_audio_decode_duration_s or float(NO_LIMIT),
        audio_bytes=cap(variables.max_audio_decode_bytes),
        embeds_bytes=cap(variables.max_embed_decode_bytes),
        video_seconds=variables.max_video_duration_s or float(NO_LIMIT),
        decode_seconds=variables.media_decode_timeout,
        memory=int(variables.media_decode_memory_mb * (1 << 20)),
    )


def encode_config(config: msgspec.Struct) -> bytes:
    return msgspec.json.encode(config)
