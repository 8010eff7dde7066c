"""Checkpoints that make vectors, in their published forms. They generate nothing, so that they are
not in the catalog.

Qwen3-Embedding: a generating class is named, the weights have the names of its body alone,
sentence-transformers' files lie beside, and the tokenizer writes an end behind every text.
Qwen3-VL-Embedding: no head is stored and none is tied; its template has an instruction of its own.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace

from .families.gemma import gemma3_text
from .families.llama import qwen3
from .families.qwen_vl import qwen2_vl, qwen3_vl
from .forms import CHATML, THINKING, TOOLS
from .kinds import Animal, Json
from .tokens import Tokens

INSTRUCTION = "Represent the user's input."


def modules(*kinds: str) -> str:
    """modules.json of sentence-transformers."""
    home = "sentence_transformers.models"
    rows = [
        {"idx": n, "name": str(n), "path": f"{n}_{kind}" if n else "", "type": f"{home}.{kind}"}
        for n, kind in enumerate(kinds)
    ]
    return json.dumps(rows)


def pooling(mode: str) -> Json:
    """1_Pooling/config.json in its older form: `mode` is one of its switches."""
    switches = (
        "cls_token",
        "mean_tokens",
        "max_tokens",
        "mean_sqrt_len_tokens",
        "weightedmean_tokens",
        "lasttoken",
    )
    return {"word_embedding_dimension": 64, "include_prompt": True} | {
        f"pooling_mode_{s}": s == mode for s in switches
    }


def qwen3_embedding(
    mode: str = "lasttoken", steps: Iterable[str] = ("Transformer", "Pooling", "Normalize")
) -> Animal:
    """The 0.6B."""
    described = qwen3()
    return replace(
        described,
        tokens=Tokens(CHATML, [*TOOLS, *THINKING], eos="<|endoftext|>"),
        rename=lambda name: name.removeprefix("model."),
        files={
            **described.files,
            "modules.json": modules(*steps),
            "1_Pooling/config.json": pooling(mode),
            "config_sentence_transformers.json": {
                "prompts": {"query": "Instruct: Find it\nQuery:", "document": ""},
                "default_prompt_name": None,
                "similarity_fn_name": "cosine",
            },
        },
    )


def qwen3_vl_embedding() -> Animal:
    """The 8B: what its body is makes the truth, the whole class is named."""
    described = qwen3_vl()
    template = (
        "{% if messages[0].role != 'system' %}<|im_start|>system\n"
        + INSTRUCTION
        + "<|im_end|>\n{% endif %}"
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in "
        "message.content %}"
        "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
        "{% elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ "
        "part.text }}{% endif %}"
        "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt "
        "%}<|im_start|>assistant\n{% endif %}"
    )
    text = {
        name: value
        for name, value in described.config["text_config"].items()
        if name != "tie_word_embeddings"
    }
    files = {
        name: content for name, content in described.files.items() if name != "chat_template.json"
    }
    return replace(
        described,
        model="Qwen3VLModel",
        config={**described.config, "tie_word_embeddings": False, "text_config": text},
        rename=lambda name: f"model.{name}",
        files={**files, "chat_template.jinja": template},
    )


def embedding_gemma() -> Animal:
    """EmbeddingGemma, the 300m: every token of a text sees every other, in its windowed layers
    those near it; two linear layers behind the mean. Its windows are half as wide as its file says,
    and one."""
    described = gemma3_text()
    width = described.config["hidden_size"]
    kinds = ["full_attention" if number % 3 == 2 else "sliding_attention" for number in range(4)]
    dense: Json = {"activation_function": "torch.nn.modules.linear.Identity", "bias": False}
    prompts = {"query": "task: search result | query: ", "document": "title: none | text: "}
    return replace(
        described,
        config={
            **{
                name: value
                for name, value in described.config.items()
                if name not in ("sliding_window_pattern",)
            },
            "_sliding_window_pattern": 3,
            "architectures": ["Gemma3TextModel"],
            "layer_types": kinds,
            "max_position_embeddings": 256,
            "sliding_window": 12,
            "use_bidirectional_attention": True,
        },
        model="Gemma3TextModel",
        files={
            "modules.json": modules("Transformer", "Pooling", "Dense", "Dense", "Normalize"),
            "sentence_bert_config.json": {"do_lower_case": False, "max_seq_length": 256},
            "config_sentence_transformers.json": {"default_prompt_name": None, "prompts": prompts},
            "1_Pooling/config.json": pooling("mean_tokens"),
            "2_Dense/config.json": {**dense, "in_features": width, "out_features": 96},
            "3_Dense/config.json": {**dense, "in_features": 96, "out_features": 64},
        },
        extra={"2_Dense.linear.weight": (96, width), "3_Dense.linear.weight": (64, 96)},
        beside={f"{folder}.": folder for folder in ("2_Dense", "3_Dense")},
        dtype="float32",
        spread=0.3,
    )


def vlm2vec() -> Animal:
    """VLM2Vec on Qwen2-VL: whole, with a head; that it makes vectors is said by who starts it."""
    return qwen2_vl()


ANIMALS: dict[str, Callable[[], Animal]] = {
    "qwen3_embedding": qwen3_embedding,
    "qwen3_vl_embedding": qwen3_vl_embedding,
    "embedding_gemma": embedding_gemma,
    "vlm2vec": vlm2vec,
}
