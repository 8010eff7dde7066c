"""Pieces of published files that many families share: special tokens, tokenizer settings, towers,
templates of our own."""

from collections.abc import Mapping
from typing import Any

from .kinds import Json
from .tokens import AS_PUBLISHED, Tokens

CHATML = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
TOOLS = [
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
]
THINKING = ["<tool_response>", "</tool_response>", "<think>", "</think>"]


def chatml_tokenizer(length: int = 32768, special: list[str] = CHATML[1:], **more: Any) -> Json:
    """Qwen's tokenizer_config.json: no BOS; what ends a turn is its `eos_token`."""
    return {
        "add_prefix_space": False,
        "additional_special_tokens": special,
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": length,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
        **more,
    }


def llama_tokenizer(**more: Any) -> Json:
    """Of the sentencepiece kind: a BOS before every text, no length."""
    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "legacy": False,
        "model_max_length": 1000000000000000019884624838656,
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
        **more,
    }


def special_map(**tokens: str) -> Json:
    """special_tokens_map.json."""
    return {name: {"content": token, **AS_PUBLISHED} for name, token in tokens.items()}


def ends(tokens: Tokens, *names: str) -> list[int]:
    return [tokens[name] for name in names]


def chatml_template(parts: Mapping[str, str], system: str = "You help.") -> str:
    """Turns between <|im_start|> and <|im_end|>; contents are a string or a list of parts; a first
    turn that is not the system's gets one before it. `parts`: what stands for a part of each
    type."""
    cases = "".join(
        f"{{% elif part['type'] == '{kind}' or '{kind}' in part or '{kind}_url' in part %}}{marks}"
        for kind, marks in parts.items()
    )
    first = (
        "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
        + system
        + "<|im_end|>\n{% endif %}"
        if system
        else ""
    )
    return (
        "{% for message in messages %}" + first + "<|im_start|>{{ message['role'] }}\n"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in "
        "message['content'] %}"
        "{% if part['type'] == 'text' %}{{ part['text'] }}"
        + cases
        + "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def listed_template(turn: str, media: Mapping[str, str], after: str, prompt: str) -> str:
    """One that takes lists only and puts every medium of a turn before its texts: a string renders
    to nothing."""
    shown = "".join(
        "{% for part in message['content'] | selectattr('type', 'equalto', '"
        + kind
        + "') %}"
        + marks
        + "{% endfor %}"
        for kind, marks in media.items()
    )
    return (
        "{% for message in messages %}" + turn + shown
        + "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ "
        "part['text'] }}" + after
        + "{% endfor %}{% endfor %}{% if add_generation_prompt %}" + prompt + "{% endif %}"
    )  # fmt: skip
