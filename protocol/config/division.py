"""From what a user has set to each role's own part: the one place where derived numbers are
computed, with `sizes.py` for what several of them must agree on, and where the THESPIS_* variables
are read (environment.py lists them)."""

import os
from typing import Any

import msgspec

from ..edges.control import Share
from ..errors import EngineError
from ..facts import ModelFacts
from ..requests.pooling import told
from ..requests.request import MODALITIES, Modality
from ..topology import (
    CLIENT,
    DECODE_WORKER,
    DETOKENIZER,
    ENCODE_WORKER,
    ENCODER_CACHE,
    FETCHER,
    GPU_RUNNER,
    HTTP,
    PREPROCESSOR,
    SCHEDULER,
    kind_of,
)
from . import deterministic, environment
from .engine import EngineConfig, count_limit
from .environment import NO_LIMIT, Environment, cap
from .roles import (
    ClientConfig,
    DetokenizerConfig,
    DiskTier,
    EncoderCacheConfig,
    FetcherConfig,
    HttpConfig,
    MediaLimits,
    PreprocessorConfig,
    RoleConfig,
    RunnerConfig,
    SchedulerConfig,
)
from .server import ServerConfig
from .sizes import Sizes, in_bytes, sizes_of, step_of
from .speculation import speculation_of

MIB = 1 << 20
GPU_BATCH_ROWS, CPU_BATCH_ROWS = 4096, 512
"""Embedding rows in one batch of the encoder: a few large pictures, or a clip; on a CPU one, where
company makes nothing quicker. More gains little, and others wait."""
MAX_REDIRECTS = 3
"""Hops of one download, where redirects are followed at all."""
ATTENTION_EVEN = 6
"""Times the hidden size: the position at which a token of a common decoder multiplies as much with
what was before it as with the weights."""
MOST_WORKERS = 8
"""Decode workers that nobody has asked for: each has a processor and a tokenizer of its own in
memory."""
LEAST_REQUESTS = 128
"""In the engine at once, unless told otherwise. As many wait as run, so that a flood's last request
is answered a batch later: a deeper queue makes everybody wait and brings no answer sooner."""


class Division(msgspec.Struct, frozen=True, kw_only=True):
    """Each role's part, by role (all clients under `client`)."""

    roles: dict[str, RoleConfig]
    max_model_len: int
    name: str


def actors_of(engine: EngineConfig) -> tuple[str, ...]:
    """The roles that every engine plays, whatever its model; a server has the HTTP frontend beside
    them."""
    workers = (f"{DECODE_WORKER}-{worker}" for worker in range(workers_of(engine)))
    encoders, ranks = encoders_of(engine), ranks_of(engine)
    return (FETCHER, PREPROCESSOR, *encoders, SCHEDULER, *ranks, DETOKENIZER, *workers)


def encoders_of(engine: EngineConfig) -> tuple[str, ...]:
    """The encoder-cache, which encodes itself, and who encodes beside it."""
    others = (f"{ENCODE_WORKER}-{worker}" for worker in range(1, engine.encoders))
    return (ENCODER_CACHE, *others)


def ranks_of(engine: EngineConfig) -> tuple[str, ...]:
    """The processes that compute the model together; the first alone knows the scheduler."""
    others = range(1, engine.tensor_parallel_size)
    return (GPU_RUNNER, *(f"{GPU_RUNNER}-{rank}" for rank in others))


def workers_of(engine: EngineConfig) -> int:
    """Processes that decode media. They give way to all others, so they may be as many as sometimes
    find a core."""
    return engine.decode_workers or max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0)) // 2))


def share_of(engine: EngineConfig) -> Share:
    """What all clients may hold together."""
    requests = engine.max_requests or max(LEAST_REQUESTS, 2 * engine.max_num_seqs)
    return Share(requests, engine.max_inflight_tokens, in_bytes(engine.max_media_gb))


def divide(
    engine: EngineConfig,
    model: ModelFacts,
    cuda: bool = False,
    server: ServerConfig | None = None,
    memory: int | None = None,
    bfloat16: bool = False,
) -> Division:
    """Derive every role's configuration.

    `cuda`: whether device "auto" means a GPU here. `memory`: bytes that the device has for weights
    and cache, by which a context that nobody has set is bounded; None: it is not. `bfloat16`: the
    CPU has units for such products. Raises EngineError for settings that contradict the model.
    """
    model = _as_told(engine, model)
    variables = environment.read()
    sizes = sizes_of(engine, model, cuda, memory, bfloat16)
    preprocessor = _preprocessor(engine, model, sizes, variables)
    roles: dict[str, RoleConfig] = {
        FETCHER: _fetcher(engine, variables),
        PREPROCESSOR: preprocessor,
        SCHEDULER: _scheduler(engine, model, sizes),
        DETOKENIZER: DetokenizerConfig(model=model),
    }
    roles |= {
        role: _runner(engine, model, sizes, rank) for rank, role in enumerate(ranks_of(engine))
    }
    _check_encoders(engine, model)
    roles |= {role: _encoder(engine, model, sizes, role) for role in encoders_of(engine)}
    roles |= {role: preprocessor for role in actors_of(engine) if kind_of(role) == DECODE_WORKER}
    roles[CLIENT] = client = ClientConfig(
        model=model,
        name=engine.name,
        max_model_len=sizes.context,
        seed=engine.seed,
        roles=actors_of(engine),
    )
    if server is not None:
        roles[HTTP] = HttpConfig(client=client, dtype=sizes.dtype, server=server, engine=engine)
    return Division(roles=roles, max_model_len=sizes.context, name=engine.name)


def _encoder(
    engine: EngineConfig, model: ModelFacts, sizes: Sizes, role: str
) -> EncoderCacheConfig:
    # Where an operator has said how many threads each has, or answers must not depend on who else
    # computes, encoders do not divide the cores between them.
    apart = bool(engine.encoder_threads) or engine.deterministic
    others = () if apart else (one for one in encoders_of(engine) if one != role)
    return EncoderCacheConfig(
        model=model,
        dtype=sizes.dtype,
        device=sizes.device,
        threads=sizes.encoder,
        native_kernels=engine.native_kernels,
        store_bytes=in_bytes(engine.encoder_cache_gb),
        modalities=_encoded(engine.limit_mm_per_prompt),
        max_batch_rows=_batch_rows(engine, sizes.device),
        deterministic=engine.deterministic,
        disk=_disk_tier(engine) if role == ENCODER_CACHE else None,
        sharing=(GPU_RUNNER, *others),
        ranks=engine.tensor_parallel_size,
    )


def _check_encoders(engine: EngineConfig, model: ModelFacts) -> None:
    """Raises EngineError for several where nothing will have to be encoded."""
    taken = set(_encoded(engine.limit_mm_per_prompt)) & set(model.placeholders)
    if engine.encoders > 1 and not taken:
        raise EngineError(
            f"encoders={engine.encoders} is for media, and this model takes text alone, or "
            "limit_mm_per_prompt leaves nothing else: leave encoders out."
        )


def _as_told(engine: EngineConfig, model: ModelFacts) -> ModelFacts:
    """With the pooler that the operator says. Raises EngineError for one of a model that makes
    text."""
    if not engine.pooler_config:
        return model
    if model.pooler is None:
        raise EngineError(
            "pooler_config says how vectors are made, and this model makes text: set runner to "
            "pooling, or leave it."
        )
    return msgspec.structs.replace(model, pooler=told(model.pooler, engine.pooler_config))


def _disk_tier(engine: EngineConfig) -> DiskTier | None:
    if not engine.encoder_cache_dir:
        return None
    return DiskTier(
        folder=engine.encoder_cache_dir, max_bytes=in_bytes(engine.encoder_cache_dir_gb)
    )


def _batch_rows(engine: EngineConfig, device: str) -> int:
    """Where answers must not depend on company, every item is encoded alone."""
    usual = CPU_BATCH_ROWS if device == "cpu" else GPU_BATCH_ROWS
    return 1 if engine.deterministic else usual


def _encoded(limits: dict[str, Any]) -> tuple[Modality, ...]:
    """Modalities that may come as something else than ready embeddings; a clip brings its sound."""
    raw = {modality for modality in MODALITIES if count_limit(limits, modality) != 0}
    if "video" in raw:
        raw.add("audio")
    return tuple(modality for modality in MODALITIES if modality in raw)


def _preprocessor(
    engine: EngineConfig, model: ModelFacts, sizes: Sizes, variables: Environment
) -> PreprocessorConfig:
    return PreprocessorConfig(
        model=model,
        max_model_len=sizes.context,
        chat_template=engine.chat_template,
        reasoning_parser=engine.reasoning_parser,
        limits_per_prompt=engine.limit_mm_per_prompt,
        io_kwargs=engine.media_io_kwargs,
        processor_kwargs=engine.mm_processor_kwargs,
        hasher=engine.mm_hasher_algorithm,
        enable_embeds=engine.enable_mm_embeds,
        enable_prompt_embeds=engine.enable_prompt_embeds,
        ignore_ids=not engine.mm_processor_cache_gb and not engine.enable_prefix_caching,
        cache_bytes=in_bytes(engine.mm_processor_cache_gb),
        workers=workers_of(engine),
        media=_media_limits(variables),
        recalls=_disk_tier(engine) is not None,
    )


def _scheduler(engine: EngineConfig, model: ModelFacts, sizes: Sizes) -> SchedulerConfig:
    step = step_of(engine, model, sizes.context)
    return SchedulerConfig(
        max_num_seqs=engine.max_num_seqs,
        max_batched_tokens=step,
        max_model_len=sizes.context,
        attention_even=ATTENTION_EVEN * model.hidden,
        block_size=engine.block_size,
        windows=tuple(table.window for table in model.tables),
        room=sizes.room,
        prefix_caching=engine.enable_prefix_caching,
        tile=deterministic.tile(engine.block_size) if engine.deterministic else None,
        rope_bound=model.rope_bound,
        answers_apart=model.answers_apart,
        pooler=model.pooler,
        speculation=speculation_of(engine.speculative_config, model),
        hidden_bytes=model.embed_width * sizes.itemsize,
        store_bytes=in_bytes(engine.encoder_cache_gb),
    )


def _runner(engine: EngineConfig, model: ModelFacts, sizes: Sizes, rank: int) -> RunnerConfig:
    ranks = engine.tensor_parallel_size
    return RunnerConfig(
        model=model,
        rank=rank,
        ranks=ranks,
        dtype=sizes.dtype,
        device=sizes.device,
        threads=sizes.runner,
        native_kernels=engine.native_kernels,
        eager=engine.enforce_eager or engine.deterministic or ranks > 1,
        deterministic=engine.deterministic,
        quantization=engine.quantization,
        block_size=engine.block_size,
        room=sizes.room,
        max_num_seqs=engine.max_num_seqs,
        max_batched_tokens=step_of(engine, model, sizes.context),
        max_model_len=sizes.context,
        gpu_memory_utilization=engine.gpu_memory_utilization,
        sharing=encoders_of(engine),
    )


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
            "document": variables.document_fetch_timeout,
        },
        retries=variables.media_fetch_max_retries,
        redirects=MAX_REDIRECTS if variables.media_url_allow_redirects else 0,
        max_bytes=cap(variables.max_media_download_size_mb, MIB),
        arena_bytes=in_bytes(engine.max_media_gb),
        cache_path=engine.media_cache or variables.media_cache or None,
        cache_bytes=int(size_mb * MIB),
        cache_seconds=3600.0 * (engine.media_cache_ttl_hours or variables.media_cache_ttl_hours),
    )


def _media_limits(variables: Environment) -> MediaLimits:
    return MediaLimits(
        pixels=cap(variables.max_image_pixels),
        audio_seconds=variables.max_audio_decode_duration_s or float(NO_LIMIT),
        cut_seconds=variables.max_transcription_duration_s or float(NO_LIMIT),
        audio_bytes=cap(variables.max_audio_decode_bytes),
        embeds_bytes=cap(variables.max_embed_decode_bytes),
        video_seconds=variables.max_video_duration_s or float(NO_LIMIT),
        video_pixels=cap(variables.max_video_decode_pixels),
        document_pages=cap(variables.max_document_pages),
        image_seconds=variables.image_decode_timeout,
        page_seconds=variables.page_decode_timeout,
        decode_seconds=variables.media_decode_timeout,
        memory=int(variables.media_decode_memory_mb * MIB),
    )
