"""From the GGUF file of a package to a checkpoint folder in the published form, by transformers'
own reader."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
IMAGE = "<image>"
VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
    "projection_dim": 64,
}
"""Of a tower with random weights: it gives a picture its place, and nothing to say about it."""
PICTURES = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": 56},
    "crop_size": {"height": 56, "width": 56},
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


def make(source: Path, folder: Path, form: str) -> None:
    """`source` holds `FILE`. Forms: `llama`, the model as it is; `llava`, the same as the language
    model of a LLaVA."""
    import torch
    import transformers

    library: Any = transformers  # untyped
    text = library.AutoModelForCausalLM.from_pretrained(source, gguf_file=FILE, dtype=torch.float32)
    tokenizer = library.AutoTokenizer.from_pretrained(source, gguf_file=FILE)
    if form == "llava":
        tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
        model = _with_tower(text, tokenizer.convert_tokens_to_ids(IMAGE))
        (folder / "preprocessor_config.json").write_text(json.dumps(PICTURES))
    else:
        model = type(text)(type(text.config).from_dict(_described(text)))
        model.load_state_dict(text.state_dict())
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _with_tower(text: Any, image_token_id: int) -> Any:
    """The embedding gets a row for the image's token; the head is tied to it in either model."""
    import torch
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    rows = max(image_token_id + 1, text.config.vocab_size)
    text.resize_token_embeddings(rows, mean_resizing=False)
    torch.manual_seed(0)
    config: Any = LlavaConfig(
        text_config=_described(text),
        vision_config=VISION,
        image_token_index=image_token_id,
        tie_word_embeddings=True,
    )
    model: Any = LlavaForConditionalGeneration(config)
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.tie_weights()
    return model


def _described(text: Any) -> dict[str, Any]:
    """The configuration without what it says of the file that the weights came from: they are plain
    numbers now."""
    described: dict[str, Any] = text.config.to_dict()
    described.pop("quantization_config", None)
    return described


def answers_of_transformers(
    folder: Path, questions: Sequence[str], max_tokens: int, file: str | None = None
) -> list[str]:
    """Greedy, one question after the other, in float32. `file`: a GGUF file in the folder, which is
    then the model."""
    import torch
    import transformers

    library: Any = transformers  # untyped
    more = {} if file is None else {"gguf_file": file}
    kind = (
        "AutoModelForCausalLM"
        if file is not None
        else library.AutoConfig.from_pretrained(folder).architectures[0]
    )
    model = getattr(library, kind).from_pretrained(folder, dtype=torch.float32, **more)
    tokenizer = library.AutoTokenizer.from_pretrained(folder, **more)
    answers = []
    for question in questions:
        messages = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        said = model.generate(**prompt, max_new_tokens=max_tokens, do_sample=False)[
            0, prompt["input_ids"].shape[1] :
        ]
        answers.append(tokenizer.decode(said, skip_special_tokens=True))
    return answers
