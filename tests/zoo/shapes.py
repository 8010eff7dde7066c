"""Checkpoints of shapes that nobody chose: heads, groups, ties, rotary kinds, patches, merges,
vocabularies, layers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from .catalog import animal
from .composing import CLOSE, ask_all, run_all
from .kinds import Animal, Json
from .reference import Reference
from .writing import write

TOKENS = 6
STRETCHES: tuple[Json, ...] = (
    {"rope_type": "linear", "factor": 2.0},
    {
        "rope_type": "llama3",
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 32,
    },
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
)


def draw(random: Random) -> tuple[str, Animal]:
    """The name of a family and a checkpoint of it."""
    name = random.choice(tuple(SHAPES))
    drawn = animal(name)
    config = _copy(drawn.config)
    files = {file: _copy(content) for file, content in drawn.files.items()}
    SHAPES[name](random, config, files)
    return name, replace(
        drawn,
        config=config,
        files=files,
        shards=random.choice((1, 2)),
        spread=random.uniform(0.15, 0.25),
    )


def compare(drawn: Animal, folder: Path) -> str | None:
    """What differs from transformers, for a text and a prompt of each modality; None: nothing."""
    write(drawn, folder)
    asked = ask_all(folder, Reference(drawn, folder), TOKENS)
    for place, (said, (prompt, answer)) in enumerate(
        zip(run_all(folder, asked, TOKENS), asked, strict=True)
    ):
        if prompt.token_ids != answer.prompt_token_ids:
            return f"other prompt tokens in request {place}"
        if said.token_ids[: answer.safe] != answer.token_ids[: answer.safe]:
            return f"{said.token_ids} in request {place}, not {answer.token_ids}"
        if (apart := said.apart(answer)) >= CLOSE:
            return f"first scores {apart:.1e} apart in request {place}"
    return None


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(inner) for name, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _text(random: Random, text: Json, *, own_width: bool = True, groups: bool = True) -> int:
    """Draw a text's numbers in place; returns a head's width. `own_width`: heads need not fill the
    hidden size."""
    heads = random.choice((1, 2, 3, 4, 6))
    width = random.choice((8, 16, 24, 32))
    hidden = heads * (random.choice((16, 32)) if own_width else width)
    shared = random.choice([n for n in range(1, heads + 1) if heads % n == 0]) if groups else heads
    text.update(num_attention_heads=heads, num_key_value_heads=shared, hidden_size=hidden)
    text.update(
        num_hidden_layers=random.randint(1, 4), intermediate_size=random.choice((40, 96, 128))
    )
    text["vocab_size"] += random.choice((0, 1, 7, 64))
    text.pop("head_dim", None)
    if hidden != heads * width:
        text["head_dim"] = width
    return width


def _tie(random: Random, top: Json, text: Json) -> None:
    """Said above, in the text, in both, or nowhere."""
    tied = random.random() < 0.5
    for place in (top, text):
        place.pop("tie_word_embeddings", None)
    where = random.choice(("top", "text", "both"))
    if where != "text" or top is text:
        top["tie_word_embeddings"] = tied
    if where != "top":
        text["tie_word_embeddings"] = tied


def _flat(
    *, own_width: bool, groups: bool = True, stretched: bool = True
) -> Callable[[Random, Json, Json], None]:
    def vary(random: Random, config: Json, files: Json) -> None:
        _text(random, config, own_width=own_width, groups=groups)
        _tie(random, config, config)
        config.pop("layer_types", None)
        config["rope_theta"] = random.choice((1000.0, 10000.0, 1000000.0))
        config["rope_scaling"] = random.choice((None, *STRETCHES)) if stretched else None

    return vary


def _sections(random: Random, width: int) -> list[int]:
    """How half of a head is divided among three planes."""
    first = random.randint(1, width // 2 - 2)
    second = random.randint(1, width // 2 - first - 1)
    return [first, second, width // 2 - first - second]


def _patches(random: Random, vision: Json, files: Json, *, width: str, hidden: int) -> None:
    """A tower of the Qwen kind, and what its processors must know of it."""
    heads = random.choice((1, 2, 3))
    patch, merge = random.choice((8, 14, 16)), random.choice((1, 2, 3))
    vision.update(
        {"depth": random.randint(2, 3), "num_heads": heads, width: heads * random.choice((8, 16))}
    )
    vision.update({"patch_size": patch, "spatial_merge_size": merge, "spatial_patch_size": patch})
    vision["hidden_size" if width == "embed_dim" else "out_hidden_size"] = hidden
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        if name in files:
            files[name].update(patch_size=patch, merge_size=merge)


def _qwen2_vl(random: Random, config: Json, files: Json) -> None:
    width = _text(random, config, own_width=False)
    _tie(random, config, config)
    config["rope_scaling"]["mrope_section"] = _sections(random, width)
    _patches(
        random, config["vision_config"], files, width="embed_dim", hidden=config["hidden_size"]
    )


def _qwen2_5_vl(random: Random, config: Json, files: Json) -> None:
    width = _text(random, config, own_width=False)
    _tie(random, config, config)
    config["rope_scaling"]["mrope_section"] = _sections(random, width)
    vision = config["vision_config"]
    _patches(random, vision, files, width="hidden_size", hidden=config["hidden_size"])
    step = vision["patch_size"] * vision["spatial_merge_size"]
    vision.update(
        window_size=step * random.choice((1, 2, 3)),
        fullatt_block_indexes=[random.randrange(vision["depth"])],
    )


def _qwen3_vl(random: Random, config: Json, files: Json) -> None:
    text, vision = config["text_config"], config["vision_config"]
    width = _text(random, text)
    text["head_dim"] = width
    _tie(random, config, text)
    third = width // 6
    text["rope_scaling"]["mrope_section"] = [width // 2 - 2 * third, third, third]
    _patches(random, vision, files, width="hidden_size", hidden=text["hidden_size"])
    deep = random.sample(
        range(vision["depth"]), random.randint(1, min(vision["depth"], text["num_hidden_layers"]))
    )
    vision["deepstack_visual_indexes"] = sorted(deep)


def _llava(random: Random, config: Json, files: Json) -> None:
    text, vision = config["text_config"], config["vision_config"]
    _text(random, text, own_width=False)
    config["vocab_size"] = text["vocab_size"]
    _tie(random, config, text)
    patch = random.choice((7, 14, 28))
    edge = patch * random.choice((2, 3, 4))
    heads = random.choice((1, 2, 4))
    vision.update(
        patch_size=patch, image_size=edge, num_attention_heads=heads, hidden_size=heads * 16
    )
    vision["num_hidden_layers"] = random.randint(2, 4)
    config["vision_feature_layer"] = random.choice((-1, -2))
    files["preprocessor_config.json"].update(
        size={"shortest_edge": edge}, crop_size={"height": edge, "width": edge}
    )
    files["processor_config.json"]["patch_size"] = patch


def _experts(random: Random, config: Json, files: Json) -> None:
    _text(random, config)
    _tie(random, config, config)
    count = random.choice((2, 3, 6))
    config["num_experts" if "num_experts" in config else "num_local_experts"] = count
    config["num_experts_per_tok"] = random.randint(1, count)


SHAPES: dict[str, Callable[[Random, Json, Json], None]] = {
    "llama": _flat(own_width=True),
    "mistral": _flat(own_width=True),
    "qwen2": _flat(own_width=False),
    "qwen3": _flat(own_width=True),
    "granite": _flat(own_width=False, stretched=False),
    "olmo2": _flat(own_width=False, groups=True),
    "mixtral": _experts,
    "qwen3_moe": _experts,
    "llava": _llava,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
}
"""By family: draws its numbers into config.json and the other files, in place."""
