"""Options of other engines that are not here, with a sentence for each; and what a typo means."""

import difflib
import re
from collections.abc import Iterable

_HERE: dict[str, str] = {
    "deterministic": "batch_invariant enable_deterministic_inference",
    "kv_cache_gb": (
        "kv_cache_memory_bytes num_gpu_blocks_override cache_max_entry_count max_total_tokens"
    ),
    "gpu_memory_utilization": "mem_fraction_static cuda_memory_fraction",
    "max_num_seqs": "max_running_requests max_batch_size parallel",
    "max_num_batched_tokens": "chunked_prefill_size max_prefill_tokens max_batch_prefill_tokens",
    "max_requests": "max_queued_requests max_concurrent_requests",
    "max_model_len": "context_length ctx_size n_ctx session_len max_seq_len",
    "block_size": "page_size",
    "enable_prefix_caching": "disable_radix_cache",
    "seed": "random_seed",
    "enforce_eager": "disable_cuda_graph",
    "dtype": "torch_dtype",
    "device": "device_map",
    "quantization": "quantize load_in_8bit",
    "runner": "is_embedding",
    "pooler_config": "override_pooler_config",
    "runner_threads": "threads n_threads",
    "speculative_config": (
        "ngram_prompt_lookup_max ngram_prompt_lookup_min speculative_algorithm "
        "speculative_num_draft_tokens"
    ),
    "mm_processor_cache_gb": "disable_mm_preprocessor_cache",
    "host": "hostname",
    "ssl_certfile": "ssl_cert_file",
    "ssl_keyfile": "ssl_key_file",
    "access_log": (
        "disable_log_requests enable_log_requests uvicorn_access_log disable_uvicorn_access_log"
    ),
    "log_level": "uvicorn_log_level log_level_http verbose",
    "metrics_aliases": "enable_metrics",
}
CALLED_HERE = {name: ours for ours, names in _HERE.items() for name in names.split()}
"""What is here by another name or measure: of vLLM, SGLang, TGI, LMDeploy, llama.cpp,
transformers."""

_SENTENCES = """\
One engine serves one model on one machine: tensor_parallel_size divides a model among its GPUs; for
more answers, run several engines behind a load balancer.
    pipeline_parallel_size data_parallel_size data_parallel_size_local
    data_parallel_address data_parallel_backend decode_context_parallel_size enable_expert_parallel
    distributed_executor_backend nnodes headless
Towers are not divided: encoders is the number of processes that encode, each with all of them.
    mm_encoder_tp_mode
Quantised caches are not built: the dtype is float32, bfloat16 or float16.
    kv_cache_dtype calculate_kv_scales
What the weights are stored in is found out by itself: *.safetensors, or a GGUF file.
    load_format
LoRA adapters are not built: merge one into its base model and serve that.
    enable_lora lora_modules max_loras max_lora_rank
Tokens are guessed from prompt and answer alone, as speculative_config says: no second model is run.
    speculative_model num_speculative_tokens
No code from a checkpoint is ever run.
    code_revision
The token for a hub is read from HF_TOKEN, or from what `hf auth login` has kept.
    hf_token
The checkpoint's config.json is taken as it is.
    hf_config_path hf_overrides
The tokenizer is the tokenizer.json of the checkpoint's folder.
    tokenizer_revision tokenizer tokenizer_mode
The tokenizer is always loaded.
    skip_tokenizer_init
Sampling defaults are those of the API; of generation_config.json only the end tokens are read.
    generation_config
Sampling defaults are those of the API: a request says what differs.
    override_generation_config
Weights and KV cache stay on the device; there is no offloading.
    swap_space cpu_offload_gb kv_transfer_config n_gpu_layers
There is nothing to choose: it is always so.
    enable_chunked_prefill async_scheduling enable_auto_tool_choice
Requests run in the order of their priority, then of their arrival.
    scheduling_policy
Nothing is compiled; CUDA graphs are made by themselves, and enforce_eager does without.
    compilation_config max_seq_len_to_capture cuda_graph_sizes
No code of a caller is loaded; tool_call_parser names one of those that there are.
    tool_parser_plugin
No code of a caller is loaded.
    logits_processors middleware worker_cls
Structured output has one backend.
    guided_decoding_backend structured_outputs_config
Callers are known by their keys, not by certificates; a proxy may ask for these.
    ssl_ca_certs ssl_cert_reqs
Nothing is logged between requests: /metrics has the numbers.
    disable_log_stats
Whether a model makes text or vectors is said by runner (generate, pooling), and found in its files
(auto).
    task convert
One HTTP server serves an engine.
    api_server_count
An engine does not sleep: end it and start it again.
    enable_sleep_mode
The model is given without a flag, and first: thespis serve MODEL, LLM(MODEL).
    model model_path model_id
The server listens on a port: see host and port.
    uds
Kernels are chosen by themselves; native_kernels does without.
    attention_backend attn_implementation mm_attention_backend
"""
"""Each with the names that it is about below it."""

UNBUILT = {
    name: " ".join(why.split())
    for why, names in re.findall(r"((?:\S.*\n)+)((?: +.*\n)+)", _SENTENCES)
    for name in names.split()
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
    """Why there is no such option, where others have it or one spelled nearly so; None: nobody has
    it. `known`: the options that there are, with underscores like `name`."""
    name = SHORT.get(name, name)
    return UNBUILT.get(name) or UNBUILT.get(nearest(name, [*known, *UNBUILT]) or "")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The option that is meant, if one is spelled nearly so."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=NEAR)), None)
