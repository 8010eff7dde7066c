"""Options that people know from vLLM and that are not here, with a sentence for each; and what a mistyped one may mean."""

import difflib
from collections.abc import Iterable

_ONE_DEVICE = "One engine runs on one device: for more, run several engines behind a load balancer."
_CACHE = "Quantised caches are not built: the dtype is float32, bfloat16 or float16."
_NO_LORA = "LoRA adapters are not built: merge one into its base model and serve that."
_NO_DRAFT = "Tokens are guessed from prompt and answer alone, as speculative_config says: no second model is run."
_NO_CODE = "No code from a checkpoint is ever run."
_NO_PROXY = "TLS is a proxy's work: put one before the server."
_AS_SHIPPED = "There is nothing to choose: it is always so."
_LOGS = "The log goes to stderr; there is nothing to switch on or off."
_POOLING = "Whether a model makes text or vectors is said by runner (generate, pooling), and found in its files (auto)."
_GRAPHS = "Nothing is compiled; CUDA graphs are made by themselves, and enforce_eager does without."
_NO_OFFLOAD = "Weights and KV cache stay on the device; there is no offloading."

UNBUILT: dict[str, str] = {
    "tensor_parallel_size": _ONE_DEVICE,
    "pipeline_parallel_size": _ONE_DEVICE,
    "data_parallel_size": _ONE_DEVICE,
    "data_parallel_size_local": _ONE_DEVICE,
    "data_parallel_address": _ONE_DEVICE,
    "data_parallel_backend": _ONE_DEVICE,
    "decode_context_parallel_size": _ONE_DEVICE,
    "enable_expert_parallel": _ONE_DEVICE,
    "distributed_executor_backend": _ONE_DEVICE,
    "nnodes": _ONE_DEVICE,
    "headless": _ONE_DEVICE,
    "mm_encoder_tp_mode": _ONE_DEVICE,
    "kv_cache_dtype": _CACHE,
    "calculate_kv_scales": _CACHE,
    "load_format": "What the weights are stored in is found out by itself: *.safetensors, or a GGUF file.",
    "enable_lora": _NO_LORA,
    "lora_modules": _NO_LORA,
    "max_loras": _NO_LORA,
    "max_lora_rank": _NO_LORA,
    "speculative_model": _NO_DRAFT,
    "num_speculative_tokens": _NO_DRAFT,
    "code_revision": _NO_CODE,
    "hf_token": "The token for a hub is read from HF_TOKEN, or from what `hf auth login` has kept.",
    "hf_config_path": "The checkpoint's config.json is taken as it is.",
    "tokenizer_revision": "The tokenizer is the tokenizer.json of the checkpoint's folder.",
    "hf_overrides": "The checkpoint's config.json is taken as it is.",
    "tokenizer": "The tokenizer is the tokenizer.json of the checkpoint's folder.",
    "tokenizer_mode": "The tokenizer is the tokenizer.json of the checkpoint's folder.",
    "skip_tokenizer_init": "The tokenizer is always loaded.",
    "generation_config": "Sampling defaults are those of the API; of generation_config.json only the end tokens are read.",
    "override_generation_config": "Sampling defaults are those of the API: a request says what differs.",
    "swap_space": _NO_OFFLOAD,
    "cpu_offload_gb": _NO_OFFLOAD,
    "kv_transfer_config": _NO_OFFLOAD,
    "kv_cache_memory_bytes": "The option here is kv_cache_gb.",
    "num_gpu_blocks_override": "The option here is kv_cache_gb.",
    "enable_chunked_prefill": _AS_SHIPPED,
    "async_scheduling": _AS_SHIPPED,
    "enable_auto_tool_choice": _AS_SHIPPED,
    "scheduling_policy": "Requests run in the order of their priority, then of their arrival.",
    "compilation_config": _GRAPHS,
    "max_seq_len_to_capture": _GRAPHS,
    "cuda_graph_sizes": _GRAPHS,
    "reasoning_parser": "Reasoning is not split off from answers.",
    "tool_parser_plugin": "No code of a caller is loaded; tool_call_parser is auto, hermes or json.",
    "logits_processors": "No code of a caller is loaded.",
    "middleware": "No code of a caller is loaded.",
    "worker_cls": "No code of a caller is loaded.",
    "guided_decoding_backend": "Structured output has one backend.",
    "structured_outputs_config": "Structured output has one backend.",
    "ssl_keyfile": _NO_PROXY,
    "ssl_certfile": _NO_PROXY,
    "ssl_ca_certs": _NO_PROXY,
    "root_path": "Paths begin at the root: let the proxy strip its prefix.",
    "disable_log_requests": _LOGS,
    "disable_log_stats": _LOGS,
    "enable_log_requests": _LOGS,
    "uvicorn_log_level": _LOGS,
    "task": _POOLING,
    "convert": _POOLING,
    "api_server_count": "One HTTP server serves an engine.",
    "enable_sleep_mode": "An engine does not sleep: end it and start it again.",
    "model": "The model is given without a flag: thespis serve MODEL.",
    "uds": "The server listens on a port: see host and port.",
}
"""By name, as a keyword argument is spelled."""
SHORT = {"tp": "tensor_parallel_size", "pp": "pipeline_parallel_size", "dp": "data_parallel_size", "q": "quantization"}
"""vLLM's short flags."""
NEAR = 0.6
"""How like a name must be to be meant."""


def unbuilt(name: str, known: Iterable[str]) -> str | None:
    """Why there is no such option, where vLLM has it or one that is spelled nearly so; None: nobody has it.

    `known`: the options that there are, with underscores like `name`.
    """
    name = SHORT.get(name, name)
    return UNBUILT.get(name) or UNBUILT.get(nearest(name, [*known, *UNBUILT]) or "")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The option that is meant, if one is spelled nearly so."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=NEAR)), None)
