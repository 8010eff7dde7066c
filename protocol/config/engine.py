"""Configuration: what a user may set. Each role's own part is derived from it once, in
protocol/config/division.py."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from ..chat_templates.reasoning import ReasoningParser
from ..checkpoint.folder import demo_model
from ..checkpoint.hub_id import hub_id, is_revision
from ..requests.pooling import Pooler, told
from .deterministic import check_tile
from .ranges import check_ranges
from .speculation import speculation

S = TypeVar("S", bound=msgspec.Struct)


HostName = Annotated[str, "host name, without scheme, port, path or wildcard"]
RunnerKind = Literal["auto", "generate", "pooling"]
"""What a model is run for: tokens, or vectors."""

Quantization = Literal["int8"] | None
"""How weights are held in memory; None: as numbers of the run's type."""

HINTS = {"quantization": "A checkpoint that is quantised says so itself: leave this out for it."}
"""By field: what whoever gave a value that there is not may have meant."""

LIMITED_SIZES = {
    "image": ("width", "height"),
    "video": ("num_frames", "width", "height"),
    "audio": (),
}
"""What a limit per prompt may say of an item beside the count of items: the most that requests may
ask for."""


class EngineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `LLM(...)`, `AsyncLLM(...)` and `thespis serve` take. Raises ValueError naming the
    field. What stands beneath a field is its line in --help, with its unit."""

    model: str = ""
    """folder of a Hugging Face checkpoint, GGUF file, or ORG/NAME[:GGUF][@REVISION] (default: the
    bundled model)"""
    revision: str | None = None
    """branch, tag or commit of a model on the hub (default: its main branch)"""
    download_dir: str | None = None
    """cache folder for models of the hub (default: HF_HUB_CACHE, else HF_HOME/hub)"""
    served_model_name: str | None = None
    """name in /v1/models and in answers (default: the folder's name, or ORG/NAME)"""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """type of weights and activations; auto: the checkpoint's own on a GPU, on a CPU bfloat16 where
    it has units for it and the checkpoint is of that type, else float32"""
    quantization: Quantization = None
    """int8: on a CPU, hold the weights of the decoder's linear layers and of the head in eight
    bits, whatever they are stored in (default: as numbers of dtype)"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where the model runs; auto: on a GPU if there is one"""
    tensor_parallel_size: int = 1
    """processes that compute the model together, each with its part of every layer: as many GPUs,
    or on a CPU parts of its cores"""
    runner: RunnerKind = "auto"
    """what the model makes: text (generate) or vectors (pooling); auto: what its files say it is
    for"""
    pooler_config: dict[str, Any] = {}
    """how vectors are made, as JSON, where the model's files do not say it: pooling_type (LAST,
    MEAN, CLS), use_activation, is_matryoshka, matryoshka_dimensions"""
    seed: int = 0
    """seed from which requests without one draw their own"""
    max_model_len: int | None = None
    """tokens of prompt and output together (default: the model's context, or what fits the
    memory)"""
    max_num_seqs: int = 64
    """sequences that run at once"""
    max_num_batched_tokens: int | None = None
    """tokens computed in one step; longer prompts are prefilled in chunks (default: 512; 2048 where
    all items of a prompt, or all of it, must be computed in one step)"""
    block_size: int = 16
    """tokens per KV block"""
    kv_cache_gb: float | None = None
    """GiB of KV cache (default: on a CPU enough for max_num_seqs full contexts, at most 1 GiB; on a
    GPU what fits)"""
    gpu_memory_utilization: float = 0.9
    """share of a GPU's memory that weights and KV cache may take"""
    enable_prefix_caching: bool = True
    """reuse the KV blocks of equal prompt beginnings"""
    enforce_eager: bool = False
    """on a GPU, launch every step anew: no CUDA graphs"""
    native_kernels: bool = True
    """use kernels: on a CPU those that g++ builds at the first start, on a GPU Triton's; off, or
    where there are none: torch's operations alone"""
    deterministic: bool = False
    """an answer is the same to the last bit whatever runs beside it, was cached or preempted: every
    sequence and every item is computed alone, so many at once are much slower"""
    speculative_config: dict[str, Any] = {}
    """guess tokens and verify them together, as JSON: method (ngram: what stood in prompt or answer
    after the same tokens), num_speculative_tokens, prompt_lookup_max, prompt_lookup_min; answers
    stay the same, up to rounding"""
    runner_threads: int = 0
    """CPU threads of the GPU runner; 0: by the model's size, all cores while the encoder rests"""
    encoder_threads: int = 0
    """CPU threads of each encoder; 0: by the model's size, up to all cores while others rest"""
    trust_remote_code: bool = False
    """accepted for compatibility; no code from a checkpoint is ever run"""
    chat_template: str | None = None
    """file, Jinja text, or the name of a built-in one (default: the checkpoint's, else its
    family's)"""
    reasoning_parser: ReasoningParser = "auto"
    """how the model marks its thinking; auto: as its chat template says, none: nobody looks for
    it"""
    trust_request_chat_template: bool = False
    """let a request bring its own chat template"""
    limit_mm_per_prompt: dict[str, Any] = {}
    """items per prompt and modality, and their sizes, as JSON (default: 999 of each)"""
    media_io_kwargs: dict[str, dict[str, Any]] = {}
    """decoding options per modality, as JSON"""
    mm_processor_kwargs: dict[str, Any] = {}
    """processor options of the model, as JSON"""
    mm_processor_cache_gb: float = 4.0
    """GiB of prepared features kept for reuse; 0 switches the cache off"""
    mm_hasher_algorithm: Literal["blake3", "sha256", "sha512"] = "blake3"
    """digest that identifies media"""
    enable_mm_embeds: bool = False
    """accept precomputed embeddings as input"""
    enable_prompt_embeds: bool = False
    """accept prompts as embeddings of their tokens"""
    encoder_cache_gb: float = 0.5
    """GiB of embeddings kept in memory"""
    encoder_cache_dir: str | None = None
    """folder that keeps embeddings of media across restarts; several engines may share it (default:
    none, since much of a picture can be told from its embedding)"""
    encoder_cache_dir_gb: float = 10.0
    """GiB in that folder"""
    encoders: int = 1
    """processes that encode media, each with the towers' weights: on a GPU of its own where there
    are several, else on its part of the cores"""
    decode_workers: int = 0
    """processes that decode media; 0: one for every two cores, eight at most"""
    allowed_local_media_path: str | None = None
    """folder below which file: URLs may read (default: none may)"""
    allowed_media_domains: tuple[HostName, ...] = ()
    """the only hosts that media may come from (default: any public host)"""
    allow_private_media: bool = False
    """let media URLs reach private and loopback addresses"""
    media_cache: str | None = None
    """folder that keeps downloads across requests and restarts (default: THESPIS_MEDIA_CACHE, else
    none)"""
    media_cache_max_size_mb: float | None = None
    """MiB in that folder (default: THESPIS_MEDIA_CACHE_MAX_SIZE_MB, else 5120)"""
    media_cache_ttl_hours: float | None = None
    """hours for which a download is kept (default: THESPIS_MEDIA_CACHE_TTL_HOURS, else 24)"""
    max_requests: int | None = None
    """requests in the engine at once, over all clients; beyond: 429 (default: twice max_num_seqs,
    at least 128)"""
    max_inflight_tokens: int = 4_000_000
    """prompt and output tokens of all accepted requests together; beyond: 429"""
    max_media_gb: float = 1.0
    """GiB of media of all accepted requests together; beyond: 429"""
    lease_seconds: float = 3.0
    """seconds that a process may be silent before it is replaced; while the machine keeps it
    waiting, none pass"""

    def __post_init__(self) -> None:
        if not self.model:
            msgspec.structs.force_setattr(self, "model", str(demo_model()))
        check_ranges(self)
        self._check_revision()
        told(Pooler(), self.pooler_config)
        speculation(self.speculative_config, self.deterministic)
        if self.deterministic:
            check_tile(self.block_size, self.max_num_batched_tokens)
        self._check_ranks()
        for modality, limit in self.limit_mm_per_prompt.items():
            if modality not in ("image", "video", "audio"):
                raise ValueError(
                    f"limit_mm_per_prompt: Unsupported modality: {modality}; known: image, video, "
                    f"audio."
                )
            _check_limit(modality, limit)

    def _check_ranks(self) -> None:
        if self.tensor_parallel_size == 1:
            return
        given = f"tensor_parallel_size={self.tensor_parallel_size}"
        if self.quantization is not None:
            raise ValueError(
                f"quantization={self.quantization!r} is not built for {given}: leave one out."
            )
        if self.deterministic:
            raise ValueError(
                f"deterministic is not built for {given}, whose sums depend on how many tokens a "
                f"step has: leave one out."
            )

    def _check_revision(self) -> None:
        wanted = hub_id(self.model)
        for revision in (self.revision, wanted and wanted.revision):
            if revision is not None and not is_revision(revision):
                raise ValueError(f"revision: {revision!r} is no name of a branch, tag or commit.")
        if self.revision is None:
            return
        text = f"revision: {self.model!r}"
        if wanted is None:
            text += " is no id of a model on a hub (ORG/NAME), and has no revisions."
            raise ValueError(text)
        if wanted.revision not in (None, self.revision):
            text += f" names {wanted.revision!r} already, and revision is {self.revision!r}."
            raise ValueError(text)

    @property
    def name(self) -> str:
        wanted = hub_id(self.model)
        if wanted is not None and self.served_model_name is None:
            return wanted.name if wanted.choice is None else f"{wanted.name}:{wanted.choice}"
        return self.served_model_name or Path(self.model).name.removesuffix(".gguf")


def count_limit(limits: Mapping[str, Any], modality: str) -> int | None:
    """How many items of a modality `limit_mm_per_prompt` allows in a prompt; None: it does not
    say."""
    limit = limits.get(modality)
    count = limit.get("count") if isinstance(limit, dict) else limit
    return None if count is None else int(count)


def _check_limit(modality: str, limit: Any) -> None:
    """One entry of `limit_mm_per_prompt`. Raises ValueError."""
    given = limit if isinstance(limit, dict) else {"count": limit}
    count = given.get("count", 0)
    if type(count) is not int or count < 0:
        raise ValueError(
            f"limit_mm_per_prompt: {modality} must be a count, or a dict with one, got {limit}."
        )
    sizes = {name: size for name, size in given.items() if name != "count"}
    positive = all(type(size) is int and size > 0 for size in sizes.values())
    if not positive or not sizes.keys() <= set(LIMITED_SIZES[modality]):
        known = ", ".join(("count", *LIMITED_SIZES[modality]))
        raise ValueError(
            f"limit_mm_per_prompt: of {modality} there are {known}, as positive numbers; got "
            f"{limit}."
        )


def configure(schema: type[S], given: Mapping[str, Any]) -> S:
    """A configuration from a user's values. Raises ValueError naming the field."""
    try:
        return msgspec.convert(given, schema)
    except msgspec.ValidationError as error:
        raise ValueError(_readable(str(error), schema)) from None


def _readable(text: str, schema: type[msgspec.Struct]) -> str:
    """The field first; and where a value is not one of a closed set, the set, which msgspec does
    not say."""
    plain = re.fullmatch(r"(Expected .+) - at `\$\.(\w+)`", text)
    if plain is not None:
        return f"{plain[2]}: {plain[1].replace('`object`', '`dict`')}."
    found = re.fullmatch(r"Invalid enum value (.+) - at `\$\.(\w+)`", text)
    if found is None:
        return text
    value, field = found.groups()
    hint = get_type_hints(schema)[field]
    sets = [kind for kind in (hint, *get_args(hint)) if get_origin(kind) is Literal]
    known = ", ".join(word for kind in sets for word in get_args(kind))
    return f"{field} must be one of {known}, got {value}. {HINTS.get(field, '')}".rstrip()
