"""From what a user has set to each role's own part: the one place where derived numbers are computed, and where the
THESPIS_* variables are read (protocol/environment.py lists them)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from . import deterministic, environment
from .config import EngineConfig, Quantization, ServerConfig, count_limit
from .edges.control import Share
from .environment import NO_LIMIT, Environment, cap
from .errors import EngineError
from .facts import MOST_CONTEXT, ModelFacts
from .pooling import told
from .request import MODALITIES, Modality
from .roles import (
    ClientConfig,
    DetokenizerConfig,
    EncoderCacheConfig,
    FetcherConfig,
    HttpConfig,
    MediaLimits,
    PreprocessorConfig,
    RoleConfig,
    RunnerConfig,
    SchedulerConfig,
    Threads,
)
from .room import Room, Shape, bytes_for, context_in, divide_room
from .speculation import speculation_of
from .topology import (
    CLIENT,
    DECODE_WORKER,
    DETOKENIZER,
    ENCODER_CACHE,
    FETCHER,
    GPU_RUNNER,
    HTTP,
    PREPROCESSOR,
    SCHEDULER,
    kind_of,
)

MIB, GIB = 1 << 20, 1 << 30
GPU_BATCH_ROWS, CPU_BATCH_ROWS = 4096, 512
"""Embedding rows in one batch of the encoder: a few large pictures, or a clip; on a CPU one, where company makes nothing
quicker. More gains little, and others wait."""
STEP, UNBROKEN_STEP = 512, 2048
"""Tokens of a step, unless told otherwise: the second where it must hold all items of a prompt, or all of it."""
MAX_REDIRECTS = 3
"""Hops of one download, where redirects are followed at all."""
ATTENTION_EVEN = 6
"""Times the hidden size: the position at which a token of a common decoder multiplies as much with what was before it as with
the weights."""
NUMBERS_PER_THREAD = 1 << 25
"""Weights of a model for each thread that computes it: a step of a small one is many short calls, and ends later where two
threads have to meet at each."""
MANY_ROWS_THREADS = 4
"""That even a small model keeps busy by hundreds of rows: a picture's patches, a prompt's tokens."""
MOST_WORKERS = 8
"""Decode workers that nobody has asked for: each has a processor and a tokenizer of its own in memory."""
LEAST_CONTEXT = 1024
"""Tokens. Where not even so many fit, the model's own context stands, and is refused with what to do."""
LEAST_REQUESTS = 128
"""In the engine at once, unless told otherwise. As many wait as run, so that a flood's last request is answered a batch later:
a deeper queue makes everybody wait and brings no answer sooner."""


class Division(msgspec.Struct, frozen=True, kw_only=True):
    """Each role's part, by role (all clients under `client`)."""

    roles: dict[str, RoleConfig]
    max_model_len: int
    name: str


class _Sizes(NamedTuple):
    """What several roles must agree on."""

    device: str
    dtype: str
    context: int
    """Tokens."""
    room: Room | None
    """None: the runner measures."""
    runner: Threads
    encoder: Threads

    @property
    def itemsize(self) -> int:
        return 4 if self.dtype == "float32" else 2


def actors_of(engine: EngineConfig) -> tuple[str, ...]:
    """The roles that every engine plays, whatever its model; a server has the HTTP frontend beside them."""
    workers = (f"{DECODE_WORKER}-{worker}" for worker in range(workers_of(engine)))
    return (FETCHER, PREPROCESSOR, ENCODER_CACHE, SCHEDULER, GPU_RUNNER, DETOKENIZER, *workers)


def workers_of(engine: EngineConfig) -> int:
    """Processes that decode media. They give way to all others, so they may be as many as sometimes find a core."""
    return engine.decode_workers or max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0)) // 2))


def share_of(engine: EngineConfig) -> Share:
    """What all clients may hold together."""
    requests = engine.max_requests or max(LEAST_REQUESTS, 2 * engine.max_num_seqs)
    return Share(requests, engine.max_inflight_tokens, _bytes(engine.max_media_gb))


def divide(
    engine: EngineConfig,
    model: ModelFacts,
    cuda: bool = False,
    server: ServerConfig | None = None,
    memory: int | None = None,
    bfloat16: bool = False,
) -> Division:
    """Derive every role's configuration.

    `cuda`: whether device "auto" means a GPU here. `memory`: bytes that the device has for weights and cache, by which a
    context that nobody has set is bounded; None: it is not. `bfloat16`: the CPU has units for such products. Raises EngineError
    for settings that contradict the model.
    """
    model = _as_told(engine, model)
    variables = environment.read()
    sizes = _sizes(engine, model, cuda, memory, bfloat16)
    preprocessor = _preprocessor(engine, model, sizes, variables)
    roles: dict[str, RoleConfig] = {
        FETCHER: _fetcher(engine, variables),
        PREPROCESSOR: preprocessor,
        ENCODER_CACHE: EncoderCacheConfig(
            model=model,
            dtype=sizes.dtype,
            device=sizes.device,
            threads=sizes.encoder,
            native_kernels=engine.native_kernels,
            store_bytes=_bytes(engine.encoder_cache_gb),
            modalities=_encoded(engine.limit_mm_per_prompt),
            max_batch_rows=deterministic.batch_rows(
                engine.deterministic, CPU_BATCH_ROWS if sizes.device == "cpu" else GPU_BATCH_ROWS
            ),
            deterministic=engine.deterministic,
        ),
        SCHEDULER: _scheduler(engine, model, sizes),
        GPU_RUNNER: _runner(engine, model, sizes),
        DETOKENIZER: DetokenizerConfig(model=model),
    }
    roles |= {role: preprocessor for role in actors_of(engine) if kind_of(role) == DECODE_WORKER}
    roles[CLIENT] = ClientConfig(
        model=model,
        name=engine.name,
        max_model_len=sizes.context,
        seed=engine.seed,
        arena_bytes=_bytes(engine.max_media_gb),
        roles=actors_of(engine),
    )
    if server is not None:
        roles[HTTP] = HttpConfig(
            model=model,
            name=engine.name,
            dtype=sizes.dtype,
            max_model_len=sizes.context,
            server=server,
            engine=engine,
        )
    return Division(roles=roles, max_model_len=sizes.context, name=engine.name)


def _as_told(engine: EngineConfig, model: ModelFacts) -> ModelFacts:
    """With the pooler that the operator says. Raises EngineError for one of a model that makes text."""
    if not engine.pooler_config:
        return model
    if model.pooler is None:
        raise EngineError(
            "pooler_config says how vectors are made, and this model makes text: set runner to pooling, or leave it."
        )
    return msgspec.structs.replace(model, pooler=told(model.pooler, engine.pooler_config))


def with_keys(server: ServerConfig, environ: Mapping[str, str] | None = None) -> ServerConfig:
    """`server` with every key that it is told of by flag and by file, or, without those, by the environment. Idempotent.

    Raises EngineError for a file that cannot be read or holds none.
    """
    keys = [*server.api_key, *(_keys_in(server.api_key_file) if server.api_key_file is not None else ())]
    keys = [key.strip() for key in keys or [environment.read(environ).api_key]]
    return msgspec.structs.replace(server, api_key=tuple(filter(None, keys)), api_key_file=None)


def _keys_in(path: str) -> list[str]:
    try:
        lines = Path(path).expanduser().read_text("utf-8-sig", "surrogateescape").splitlines()
    except (OSError, ValueError) as error:
        raise EngineError(
            f"api_key_file {path!r} cannot be read: {getattr(error, 'strerror', None) or 'no such name'}."
        ) from None
    keys = [line for line in lines if line.strip()]
    if not keys:
        raise EngineError(f"api_key_file {path!r} holds no key.")
    return keys


def _sizes(engine: EngineConfig, model: ModelFacts, cuda: bool, memory: int | None, bfloat16: bool) -> _Sizes:
    device = engine.device if engine.device != "auto" else ("cuda" if cuda else "cpu")
    if engine.quantization is not None and device != "cpu":
        raise EngineError(
            f"quantization={engine.quantization!r} is for a CPU, and this model would run on a GPU: choose device='cpu', or "
            "leave quantization out."
        )
    dtype = engine.dtype if engine.dtype != "auto" else _own_dtype(model, device, bfloat16)
    itemsize = 4 if dtype == "float32" else 2
    context = engine.max_model_len or _context_that_fits(engine, model, itemsize, memory)
    most = model.context if model.context_stated else MOST_CONTEXT
    if context > most:
        raise EngineError(f"max_model_len={context} is more than the model's context of {most} tokens.")
    cores = max(1, len(os.sched_getaffinity(0)))
    runner = _threads(engine.runner_threads, model, cores, cores // 2, 1)
    encoder = _threads(engine.encoder_threads, model, cores, cores - cores // 2, MANY_ROWS_THREADS)
    if engine.deterministic:  # as many threads whatever the other does: a product may cut its sums by them
        runner, encoder = Threads(*(runner.alone,) * 3), Threads(*(encoder.beside,) * 3)
    unfilled = _Sizes(device, dtype, context, None, runner, encoder)
    return unfilled._replace(room=_room(engine, model, unfilled))


def _own_dtype(model: ModelFacts, device: str, bfloat16: bool) -> str:
    """On a CPU bfloat16 only for weights that are stored so: of others it would round."""
    if device != "cpu" or (bfloat16 and model.dtype == "bfloat16"):
        return model.dtype
    return "float32"


def _threads(given: int, model: ModelFacts, cores: int, part: int, least: int) -> Threads:
    """`part`: of the cores, while the other one computes as well. `least`: that a small model keeps busy. What an operator has
    `given` is kept to."""
    if given:
        return Threads(given, given, given)
    alone = min(cores, max(least, model.parameters // NUMBERS_PER_THREAD))
    return Threads(alone, min(alone, max(1, part)), min(cores, max(MANY_ROWS_THREADS, alone)))


def _context_that_fits(engine: EngineConfig, model: ModelFacts, itemsize: int, memory: int | None) -> int:
    """The model's own, unless one sequence of it takes more than half of what the weights leave of the memory."""
    if memory is None or engine.kv_cache_gb is not None:
        return model.context
    left = (memory - weights_in_memory(model, itemsize, engine.quantization)) // 2
    fitting = context_in(left, model, itemsize, _shape(engine, model, model.context))
    return model.context if fitting < LEAST_CONTEXT else fitting


def weights_in_memory(model: ModelFacts, itemsize: int, quantization: Quantization = None) -> int:
    """Bytes of the weights as numbers of `itemsize` bytes, but for those that are held otherwise; in however few they are
    stored."""
    held = model.held_parameters if quantization == "int8" else 0
    return (model.parameters - held) * itemsize + held


def _room(engine: EngineConfig, model: ModelFacts, sizes: _Sizes) -> Room | None:
    if not model.kv_groups and not model.recurrent:
        raise EngineError(f"Models of type {model.model_type!r} keep nothing of their tokens, which is not built.")
    shape, itemsize = _shape(engine, model, sizes.context), sizes.itemsize
    if engine.kv_cache_gb is None:
        if sizes.device != "cpu":
            return None
        wanted = max(GIB, bytes_for(model, itemsize, shape))
        return divide_room(min(wanted, bytes_for(model, itemsize, shape, shape.sequences)), model, itemsize, shape)
    given = _bytes(engine.kv_cache_gb)
    room = divide_room(given, model, itemsize, shape)
    if room.nbytes(model, itemsize, engine.block_size) > given or 1 in room.blocks:
        least = bytes_for(model, itemsize, msgspec.structs.replace(shape, context=1))
        raise EngineError(f"kv_cache_gb={engine.kv_cache_gb} is too little: a sequence of one token takes {least} bytes.")
    return room


def _shape(engine: EngineConfig, model: ModelFacts, context: int) -> Shape:
    return Shape(engine.block_size, context, engine.max_num_seqs, _step(engine, model, context))


def _step(engine: EngineConfig, model: ModelFacts, context: int) -> int:
    """Tokens of one; a prompt whose text has no direction is computed in one piece."""
    usual = _usual_step(engine, model)
    return max(usual, context) if model.span_scope == "text" else usual


def _usual_step(engine: EngineConfig, model: ModelFacts) -> int:
    """Tokens of one step."""
    if engine.max_num_batched_tokens is not None:
        return engine.max_num_batched_tokens
    usual = STEP if model.span_scope == "item" else UNBROKEN_STEP
    return max(usual, deterministic.tile(engine.block_size)) if engine.deterministic else usual


def _encoded(limits: dict[str, Any]) -> tuple[Modality, ...]:
    """Modalities that may come as something else than ready embeddings; a clip brings its sound."""
    raw = {modality for modality in MODALITIES if count_limit(limits, modality) != 0}
    return tuple(modality for modality in MODALITIES if modality in raw or (modality == "audio" and "video" in raw))


def _bytes(gib: float) -> int:
    return int(gib * GIB)


def _preprocessor(engine: EngineConfig, model: ModelFacts, sizes: _Sizes, variables: Environment) -> PreprocessorConfig:
    return PreprocessorConfig(
        model=model,
        max_model_len=sizes.context,
        chat_template=engine.chat_template,
        limits_per_prompt=engine.limit_mm_per_prompt,
        io_kwargs=engine.media_io_kwargs,
        processor_kwargs=engine.mm_processor_kwargs,
        hasher=engine.mm_hasher_algorithm,
        enable_embeds=engine.enable_mm_embeds,
        enable_prompt_embeds=engine.enable_prompt_embeds,
        ignore_ids=not engine.mm_processor_cache_gb and not engine.enable_prefix_caching,
        cache_bytes=_bytes(engine.mm_processor_cache_gb),
        workers=workers_of(engine),
        media=_media_limits(variables),
    )


def _scheduler(engine: EngineConfig, model: ModelFacts, sizes: _Sizes) -> SchedulerConfig:
    step = _step(engine, model, sizes.context)
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
        store_bytes=_bytes(engine.encoder_cache_gb),
    )


def _runner(engine: EngineConfig, model: ModelFacts, sizes: _Sizes) -> RunnerConfig:
    return RunnerConfig(
        model=model,
        dtype=sizes.dtype,
        device=sizes.device,
        threads=sizes.runner,
        native_kernels=engine.native_kernels,
        eager=engine.enforce_eager or engine.deterministic,
        deterministic=engine.deterministic,
        quantization=engine.quantization,
        block_size=engine.block_size,
        room=sizes.room,
        max_num_seqs=engine.max_num_seqs,
        max_batched_tokens=_step(engine, model, sizes.context),
        max_model_len=sizes.context,
        gpu_memory_utilization=engine.gpu_memory_utilization,
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
        },
        retries=variables.media_fetch_max_retries,
        redirects=MAX_REDIRECTS if variables.media_url_allow_redirects else 0,
        max_bytes=cap(variables.max_media_download_size_mb, MIB),
        arena_bytes=_bytes(engine.max_media_gb),
        cache_path=engine.media_cache or variables.media_cache or None,
        cache_bytes=int(size_mb * MIB),
        cache_seconds=3600.0 * (engine.media_cache_ttl_hours or variables.media_cache_ttl_hours),
    )


def _media_limits(variables: Environment) -> MediaLimits:
    return MediaLimits(
        pixels=cap(variables.max_image_pixels),
        audio_seconds=variables.max_audio_decode_duration_s or float(NO_LIMIT),
        audio_bytes=cap(variables.max_audio_decode_bytes),
        embeds_bytes=cap(variables.max_embed_decode_bytes),
        video_seconds=variables.max_video_duration_s or float(NO_LIMIT),
        video_pixels=cap(variables.max_video_decode_pixels),
        image_seconds=variables.image_decode_timeout,
        decode_seconds=variables.media_decode_timeout,
        memory=int(variables.media_decode_memory_mb * MIB),
    )
