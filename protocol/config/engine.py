"""Configuration: what a user may set. Each role's own part is derived from it once, in
protocol/config/division.py."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from ..checkpoint.folder import demo_model
from ..checkpoint.hub_id import hub_id, is_revision
from ..requests.pooling import Pooler, told
from .deterministic import check_tile
from .ranges import check_ranges
from .speculation import speculation

S = TypeVar("S", bound=msgspec.Struct)


def doc(text: str) -> msgspec.Meta:
    """A field's line in --help, with its unit."""
    return msgspec.Meta(description=text)


HostName = Annotated[str, doc("host name, without scheme, port, path or wildcard")]

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
    field."""

    model: Annotated[
        str,
        doc(
            "folder of a Hugging Face checkpoint, GGUF file, or ORG/NAME[:GGUF][@REVISION] "
            "(default: the bundled model)"
        ),
    ] = ""
    revision: Annotated[
        str | None, doc("branch, tag or commit of a model on the hub (default: its main branch)")
    ] = None
    download_dir: Annotated[
        str | None,
        doc("cache folder for models of the hub (default: HF_HUB_CACHE, else HF_HOME/hub)"),
    ] = None
    served_model_name: Annotated[
        str | None,
        doc("name in /v1/models and in answers (default: the folder's name, or ORG/NAME)"),
    ] = None
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        doc(
            "type of weights and activations; auto: the checkpoint's own on a GPU, on a CPU "
            "bfloat16 where it has units for it and the checkpoint is of that type, else float32"
        ),
    ] = "auto"
    quantization: Annotated[
        Quantization,
        doc(
            "int8: on a CPU, hold the weights of the decoder's linear layers and of the head in "
            "eight bits, whatever they are stored in (default: as numbers of dtype)"
        ),
    ] = None
    device: Annotated[
        Literal["auto", "cpu", "cuda"], doc("where the model runs; auto: on a GPU if there is one")
    ] = "auto"
    runner: Annotated[
        RunnerKind,
        doc(
            "what the model makes: text (generate) or vectors (pooling); auto: what its files "
            "say it is for"
        ),
    ] = "auto"
    pooler_config: Annotated[
        dict[str, Any],
        doc(
            "how vectors are made, as JSON, where the model's files do not say it: pooling_type "
            "(LAST, MEAN, CLS), use_activation, is_matryoshka, matryoshka_dimensions"
        ),
    ] = {}
    seed: Annotated[int, doc("seed from which requests without one draw their own")] = 0
    max_model_len: Annotated[
        int | None,
        doc(
            "tokens of prompt and output together (default: the model's context, or what fits "
            "the memory)"
        ),
    ] = None
    max_num_seqs: Annotated[int, doc("sequences that run at once")] = 64
    max_num_batched_tokens: Annotated[
        int | None,
        doc(
            "tokens computed in one step; longer prompts are prefilled in chunks (default: 512; "
            "2048 where all items of a prompt, or all of it, must be computed in one step)"
        ),
    ] = None
    block_size: Annotated[int, doc("tokens per KV block")] = 16
    kv_cache_gb: Annotated[
        float | None,
        doc(
            "GiB of KV cache (default: on a CPU enough for max_num_seqs full contexts, at most 1 "
            "GiB; on a GPU what fits)"
        ),
    ] = None
    gpu_memory_utilization: Annotated[
        float, doc("share of a GPU's memory that weights and KV cache may take")
    ] = 0.9
    enable_prefix_caching: Annotated[
        bool, doc("reuse the KV blocks of equal prompt beginnings")
    ] = True
    enforce_eager: Annotated[bool, doc("on a GPU, launch every step anew: no CUDA graphs")] = False
    native_kernels: Annotated[
        bool,
        doc(
            "use kernels: on a CPU those that g++ builds at the first start, on a GPU Triton's; "
            "off, or where there are none: torch's operations alone"
        ),
    ] = True
    deterministic: Annotated[
        bool,
        doc(
            "an answer is the same to the last bit whatever runs beside it, was cached or "
            "preempted: every sequence and every "
            "item is computed alone, so many at once are much slower"
        ),
    ] = False
    speculative_config: Annotated[
        dict[str, Any],
        doc(
            "guess tokens and verify them together, as JSON: method (ngram: what stood in prompt "
            "or answer after the same tokens), num_speculative_tokens, prompt_lookup_max, "
            "prompt_lookup_min; answers stay the same, up to rounding"
        ),
    ] = {}
    runner_threads: Annotated[
        int,
        doc(
            "CPU threads of the GPU runner; 0: by the model's size, all cores while the encoder "
            "rests"
        ),
    ] = 0
    encoder_threads: Annotated[
        int,
        doc(
            "CPU threads of the encoder; 0: by the model's size, up to all cores while the "
            "runner rests"
        ),
    ] = 0
    trust_remote_code: Annotated[
        bool, doc("accepted for compatibility; no code from a checkpoint is ever run")
    ] = False
    chat_template: Annotated[
        str | None,
        doc(
            "file, Jinja text, or the name of a built-in one (default: the checkpoint's, else "
            "its family's)"
        ),
    ] = None
    trust_request_chat_template: Annotated[
        bool, doc("let a request bring its own chat template")
    ] = False
    limit_mm_per_prompt: Annotated[
        dict[str, Any],
        doc("items per prompt and modality, and their sizes, as JSON (default: 999 of each)"),
    ] = {}
    media_io_kwargs: Annotated[
        dict[str, dict[str, Any]], doc("decoding options per modality, as JSON")
    ] = {}
    mm_processor_kwargs: Annotated[
        dict[str, Any], doc("processor options of the model, as JSON")
    ] = {}
    mm_processor_cache_gb: Annotated[
        float, doc("GiB of prepared features kept for reuse; 0 switches the cache off")
    ] = 4.0
    mm_hasher_algorithm: Annotated[
        Literal["blake3", "sha256", "sha512"], doc("digest that identifies media")
    ] = "blake3"
    enable_mm_embeds: Annotated[bool, doc("accept precomputed embeddings as input")] = False
    enable_prompt_embeds: Annotated[bool, doc("accept prompts as embeddings of their tokens")] = (
        False
    )
    encoder_cache_gb: Annotated[float, doc("GiB of embeddings kept in memory")] = 0.5
    decode_workers: Annotated[
        int, doc("processes that decode media; 0: one for every two cores, eight at most")
    ] = 0
    allowed_local_media_path: Annotated[
        str | None, doc("folder below which file: URLs may read (default: none may)")
    ] = None
    allowed_media_domains: Annotated[
        tuple[HostName, ...],
        doc("the only hosts that media may come from (default: any public host)"),
    ] = ()
    allow_private_media: Annotated[
        bool, doc("let media URLs reach private and loopback addresses")
    ] = False
    media_cache: Annotated[
        str | None,
        doc(
            "folder that keeps downloads across requests and restarts (default: "
            "THESPIS_MEDIA_CACHE, else none)"
        ),
    ] = None
    media_cache_max_size_mb: Annotated[
        float | None,
        doc("MiB in that folder (default: THESPIS_MEDIA_CACHE_MAX_SIZE_MB, else 5120)"),
    ] = None
    media_cache_ttl_hours: Annotated[
        float | None,
        doc("hours for which a download is kept (default: THESPIS_MEDIA_CACHE_TTL_HOURS, else 24)"),
    ] = None
    max_requests: Annotated[
        int | None,
        doc(
            "requests in the engine at once, over all clients; beyond: 429 (default: twice "
            "max_num_seqs, at least 128)"
        ),
    ] = None
    max_inflight_tokens: Annotated[
        int, doc("prompt and output tokens of all accepted requests together; beyond: 429")
    ] = 4_000_000
    max_media_gb: Annotated[
        float, doc("GiB of media of all accepted requests together; beyond: 429")
    ] = 1.0
    lease_seconds: Annotated[
        float,
        doc(
            "seconds that a process may be silent before it is replaced; while the machine keeps "
            "it waiting, none pass"
        ),
    ] = 3.0

    def __post_init__(self) -> None:
        if not self.model:
            msgspec.structs.force_setattr(self, "model", str(demo_model()))
        check_ranges(self)
        self._check_revision()
        told(Pooler(), self.pooler_config)
        speculation(self.speculative_config, self.deterministic)
        if self.deterministic:
            check_tile(self.block_size, self.max_num_batched_tokens)
        for modality, limit in self.limit_mm_per_prompt.items():
            if modality not in ("image", "video", "audio"):
                raise ValueError(f"Unsupported modality: {modality}")
            _check_limit(modality, limit)

    def _check_revision(self) -> None:
        wanted = hub_id(self.model)
        for revision in (self.revision, wanted and wanted.revision):
            if revision is not None and not is_revision(revision):
                raise ValueError(f"revision: {revision!r} is no name of a branch, tag or commit.")
        if self.revision is not None and wanted is None:
            raise ValueError(
                f"revision: {self.model!r} is no id of a model on a hub (ORG/NAME), and has no "
                f"revisions."
            )
        if (
            self.revision is not None
            and wanted is not None
            and wanted.revision not in (None, self.revision)
        ):
            raise ValueError(
                f"revision: {self.model!r} names {wanted.revision!r} already, and revision is "
                f"{self.revision!r}."
            )

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
    if not sizes.keys() <= set(LIMITED_SIZES[modality]) or not all(
        type(size) is int and size > 0 for size in sizes.values()
    ):
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
    known = [
        word
        for kind in (hint, *get_args(hint))
        if get_origin(kind) is Literal
        for word in get_args(kind)
    ]
    return (
        f"{field} must be one of {', '.join(known)}, got {value}. {HINTS.get(field, '')}".rstrip()
    )
