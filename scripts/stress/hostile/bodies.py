"""Hostile bodies: a structure of any size in any place of a call; and ordinary calls with a few odd
fields."""

import json
from random import Random
from typing import Any

from .shot import CHAT, COMPLETIONS, DETOKENIZE, TOKENIZE, Shot, chat, packed, post
from .structures import value

SMALLEST = 1000
"""Bytes."""
LEANING = 2.2
"""Sizes are even on a logarithmic scale, leaning towards the small ones by this power."""
_SAYS = '"messages":[{"role":"user","content":"hi"}]'
_FIELDS = (
    "audio", "metadata", "stop", "logit_bias", "tools", "tool_choice", "functions",
    "response_format", "chat_template_kwargs", "thinking_token_budget", "reasoning_effort",
    "mm_processor_kwargs", "media_io_kwargs", "stream_options", "user", "n", "seed",
    "structured_outputs",
    "documents", "model",
    "prompt_logprobs", "bad_words", "allowed_token_ids", "stop_token_ids", "chat_template",
    "priority", "max_tokens", "",
)  # fmt: skip
_PLACES = (
    *((CHAT, "{" + _SAYS + f',"max_tokens":4,"{field}":%s' + "}") for field in _FIELDS),
    *((COMPLETIONS, f'{{"prompt":"hi","max_tokens":4,"{field}":%s}}') for field in _FIELDS),
    *(((CHAT, "%s"), (COMPLETIONS, "%s"), (TOKENIZE, "%s"), (DETOKENIZE, "%s")) * 2),
    *(
        (path, '{"max_tokens":4,' + place + "}")
        for path in (CHAT, TOKENIZE)
        for place in (
            '"messages":%s',
            '"messages":[%s]',
            '"messages":[{"role":"user","content":%s}]',
            '"messages":[{"role":%s,"content":"hi"}]',
            '"messages":[{"role":"user","content":[%s]}]',
            '"messages":[{"role":"user","content":[{"type":"text","text":%s}]}]',
            '"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":%s}}]}]',
            '"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":%s,"format":"wav"}}]}]',
            '"messages":[{"role":"user","content":"hi","tool_calls":%s}]',
            '"messages":[{"role":"user","content":"hi"},{"role":"assistant","reasoning_content":%s}]',
            '"messages":[{"role":"user","content":"hi"},{"role":"tool","content":[%s]}]',
            '"messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"allowed_tools","allowed_tools":%s}',
            '"messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{"name":"f","parameters":%s}}]',
        )
    ),
    *(
        (
            (COMPLETIONS, '{"max_tokens":4,"prompt":%s}'),
            (TOKENIZE, '{"prompt":%s}'),
            (DETOKENIZE, '{"tokens":%s}'),
        )
        * 3
    ),
)


def draw_bodies(draw: Random, biggest: int) -> Shot:
    size = size_of(draw, biggest)
    name, inner = value(draw, size)
    path, place = draw.choice(_PLACES)
    before, _, after = place.encode().partition(b"%s")
    how, pieces = packed(draw, path, before + inner + after)
    return Shot(what=f"{how}{name} of {size:,} bytes in {path} {place[:80]}", pieces=pieces)


def size_of(draw: Random, biggest: int) -> int:
    """Bytes, from a kilobyte on."""
    return int(SMALLEST * (max(biggest, SMALLEST) / SMALLEST) ** (draw.random() ** LEANING))


ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 1 << 31, 1 << 63, 1 << 64, 10**400, -(10**18), 0.5, -0.0, 1e308,
    1e-320, float("nan"),
    float("inf"), "", "0", "a" * 10_000, "\ud800", "\x00", [], {}, [[]], [None], {"": None},
    ["a"] * 5000, [0] * 5000,
    {"a": {"b": {"c": {}}}}, "auto", "none", "required", {"type": "json_object"}, {"type": "text"},
    ["user"], [1, "a", None],
)  # fmt: skip
_KNOWN = (
    "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p", "min_tokens",
    "n", "seed",
    "stop", "stream",
    "logprobs", "top_logprobs", "prompt_logprobs", "presence_penalty", "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "stop_token_ids", "bad_words", "allowed_token_ids", "ignore_eos", "echo", "suffix", "best_of",
    "stream_options", "tools",
    "tool_choice", "parallel_tool_calls", "response_format", "structured_outputs", "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar", "chat_template_kwargs", "mm_processor_kwargs", "media_io_kwargs",
    "add_generation_prompt",
    "continue_final_message", "add_special_tokens", "return_token_ids", "return_timings",
    "timeline", "priority", "model", "user",
    "request_id", "truncate_prompt_tokens", "include_stop_str_in_output", "skip_special_tokens",
    "prompt_embeds", "messages",
    "prompt", "tokens", "documents", "chat_template", "cache_salt", "reasoning_effort",
    "service_tier", "store", "modalities", "include_reasoning", "enable_thinking",
    "thinking_token_budget", "thinking_budget", "max_thinking_tokens",
)  # fmt: skip


def draw_fields(draw: Random, biggest: int) -> Shot:
    """A call of which one to four fields are odd."""
    path = draw.choice((CHAT, CHAT, COMPLETIONS, COMPLETIONS, TOKENIZE, DETOKENIZE))
    plain: dict[str, dict[str, Any]] = {
        CHAT: chat("hi"),
        COMPLETIONS: {
            "prompt": draw.choice(("hi", ["hi", "ho"], [1, 2, 3], [[1], [2]])),
            "max_tokens": 4,
        },
        TOKENIZE: {"prompt": "hi"},
        DETOKENIZE: {"tokens": [1, 2, 3]},
    }
    odd = {name: draw.choice(ODD) for name in draw.sample(_KNOWN, draw.randint(1, 4))}
    shown = ", ".join(f"{name}={json.dumps(given)[:40]}" for name, given in odd.items())
    return post(f"odd fields of {path}: {shown}", path, {**plain[path], **odd})
