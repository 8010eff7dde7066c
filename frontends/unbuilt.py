"""Options that people know from other engines and that are not here, with a sentence for each; and
what a typo means."""

import difflib
from collections.abc import Iterable

_ONE_DEVICE = "One engine runs on one device: for more, run several engines behind a load balancer."
_CACHE = "Quantised caches are not built: the dtype is float32, bfloat16 or float16."
_NO_LORA = "LoRA adapters are not built: merge one into its base model and serve that."
_NO_DRAFT = (
    "Tokens are guessed from prompt and answer alone, as speculative_config says: no second "
    "model is run."
)
_NO_CODE = "No code from a checkpoint is ever run."
_NO_PROXY = "TLS is a proxy's work: put one before the server."
_AS_SHIPPED = "There is nothing to choose: it is always so."
_LOGS = "The log goes to stderr; there is nothing to switch on or off."
_POOLING = (
    "Whether a model makes text or vectors is said by runner (generate, pooling), and found in "
    "its files (auto)."
)
_GRAPHS = "Nothing is compiled; CUDA graphs are made by themselves, and enforce_eager does without."
_MODEL = "The model is given without a flag, and first: thespis serve MODEL, LLM(MODEL)."
_BY_ITSELF = "Kernels are chosen by themselves; native_kernels does without."
_NO_OFFLOAD = "Weights and KV cache stay on the device; there is no offloading."

CALLED_HERE: dict[str, str] = {
    "batch_invariant": "deterministic",
    "enable_deterministic_inference": "deterministic",
    "kv_cache_memory_bytes": "kv_cache_gb",
    "num_gpu_blocks_override": "kv_cache_gb",
    "cache_max_entry_count": "kv_cache_gb",
    "max_total_tokens": "kv_cache_gb",
    "mem_fraction_static": "gpu_memory_utilization",
    "cuda_memory_fraction": "gpu_memory_utilization",
    "max_running_requests": "max_num_seqs",
    "max_batch_size": "max_num_seqs",
    "parallel": "max_num_seqs",
    "chunked_prefill_size": "max_num_batched_tokens",
    "max_prefill_tokens": "max_num_batched_tokens",
    "max_batch_prefill_tokens": "max_num_batched_tokens",
    "max_queued_requests": "max_requests",
    "max_concurrent_requests": "max_requests",
    "context_length": "max_model_len",
    "ctx_size": "max_model_len",
    "n_ctx": "max_model_len",
    "session_len": "max_model_len",
    "max_seq_len": "max_model_len",
    "page_size": "block_size",
    "disable_radix_cache": "enable_prefix_caching",
    "random_seed": "seed",
    "disable_cuda_graph": "enforce_eager",
    "torch_dtype": "dtype",
    "device_map": "device",
    "quantize": "quantization",
    "load_in_8bit": "quantization",
    "is_embedding": "runner",
    "override_pooler_config": "pooler_config",
    "threads": "runner_threads",
    "n_threads": "runner_threads",
    "ngram_prompt_lookup_max": "speculative_config",
    "ngram_prompt_lookup_min": "speculative_config",
    "speculative_algorithm": "speculative_config",
    "speculative_num_draft_tokens": "speculative_config",
    "disable_mm_preprocessor_cache": "mm_processor_cache_gb",
    "hostname": "host",
}
"""What is here by another name, or is set by another measure: in vLLM, SGLang, TGI, LMDeploy,
llama.cpp and transformers."""

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
    "load_format": "What the weights are stored in is found out by "
    "itself: *.safetensors, or a GGUF file.",
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
    "generation_config": "Sampling defaults are those of the API; of "
    "generation_config.json only the end tokens "
    "are read.",
    "override_generation_config": "Sampling defaults are those of the API: a "
    "request says what differs.",
    "swap_space": _NO_OFFLOAD,
    "cpu_offload_gb": _NO_OFFLOAD,
    "kv_transfer_config": _NO_OFFLOAD,
    "enable_chunked_prefill": _AS_SHIPPED,
    "async_scheduling": _AS_SHIPPED,
    "enable_auto_tool_choice": _AS_SHIPPED,
    "scheduling_policy": "Requests run in the order of their priority, then of their arrival.",
    "compilation_config": _GRAPHS,
    "max_seq_len_to_capture": _GRAPHS,
    "cuda_graph_sizes": _GRAPHS,
    "reasoning_parser": "Reasoning is not split off from answers.",
    "tool_parser_plugin": "No code of a caller is loaded; "
    "tool_call_parser is auto, hermes or json.",
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
    "model": _MODEL,
    "uds": "The server listens on a port: see host and port.",
    "model_path": _MODEL,
    "model_id": _MODEL,
    "n_gpu_layers": _NO_OFFLOAD,
    "attention_backend": _BY_ITSELF,
    "attn_implementation": _BY_ITSELF,
    "mm_attention_backend": _BY_ITSELF,
} | {name: f"The option here is {ours}." for name, ours in CALLED_HERE.items()}
"""By name, as a keyword argument is spelled."""
SHORT = {
    "tp": "tensor_parallel_size",
    "pp": "pipeline_parallel_size",
    "dp": "data_parallel_size",
    "q": "quantization",
}
"""vLLM's short flags."""
NEAR = 0.75
"""How like a name must be to be meant."""


def unbuilt(name: str, known: Iterable[str]) -> str | None:
    """Why there is no such option, where vLLM has it or one that is spelled nearly so; None: nobody
    has it.

    `known`: the options that there are, with underscores like `name`.
    """
    name = SHORT.get(name, name)
    return UNBUILT.get(name) or UNBUILT.get(nearest(name, [*known, *UNBUILT]) or "")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The option that is meant, if one is spelled nearly so."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=NEAR)), None)
