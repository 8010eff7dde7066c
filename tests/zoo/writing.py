"""Writes an animal as a checkpoint folder. The same animal gives the same bytes."""

import json
import re
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .kinds import Animal, Json

SEED = 0
LARGEST = 256
"""Columns of a tiny model. A configuration that was not understood is its class's defaults, some of
which fill a machine."""


def write(animal: Animal, folder: Path) -> Path:
    """Every file of the published form; weights drawn with a fixed seed."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    animal.tokens.write(folder, animal.tokenizer)
    for name, content in {"config.json": animal.config, **animal.files}.items():
        text = (
            content
            if isinstance(content, str)
            else json.dumps(content, indent=2, sort_keys=True) + "\n"
        )
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    model_class = true_class(animal)
    config = true_config(animal, folder)
    if config.get_text_config().hidden_size > LARGEST:
        raise ValueError(
            f"transformers does not read the text numbers of {folder / 'config.json'}: state "
            f"`truth`."
        )
    with torch.random.fork_rng():
        torch.manual_seed(SEED)  # buffers that a model draws for itself
        model = model_class._from_config(config, dtype=torch.float32)
    draw(model, animal.spread, animal.tied_spread)
    tensors = _published(animal, model)
    for start, place in animal.beside.items():
        apart = [name for name in tensors if name.startswith(start)]
        _store_whole(
            {name.removeprefix(start): tensors.pop(name) for name in apart}, folder / place
        )
    _store(animal, tensors, folder)
    return folder


def true_class(animal: Animal) -> Any:
    """The model that is the truth of it."""
    import transformers

    return getattr(
        import_module(f"{__package__}.own.{animal.own}") if animal.own else transformers,
        animal.model,
    )


def true_config(animal: Animal, folder: Path) -> Any:
    """The configuration with which transformers loads the folder."""
    config_class = true_class(animal).config_class
    if animal.truth is not None:
        return config_class.from_dict(animal.truth)
    return config_class.from_pretrained(folder)


def draw(model: Any, spread: float, tied_spread: float, seed: int = SEED) -> None:
    """Draw every weight anew: matrices so that activations keep their size, gains near 1, the head
    wide for clear winners."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    tied = model.get_output_embeddings() is not None and (
        model.get_output_embeddings().weight is model.get_input_embeddings().weight
    )
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if re.search(
                r"\bdt_(proj\.)?bias$", name
            ):  # a state remembers some tens of tokens, as a published one does
                mean, wide = -3.0, 0.5
            elif weight.ndim < 2:
                gain = name.endswith("weight") and re.search(r"norm|ln_|\.ln", name)
                mean, wide = (1.0, 0.1) if gain and weight.float().mean() > 0.5 else (0.0, 0.05)
            elif re.search(
                r"(^|\.)embed_tokens", name
            ):  # not what lies within Phi-3.5's `vision_embed_tokens`
                mean, wide = 0.0, tied_spread if tied else 1.0
            else:
                fan = weight.shape[-1] if weight.ndim <= 3 else weight[0].numel()
                mean, wide = (
                    0.0,
                    (2.0 if "lm_head" in name else 1.0) * spread * (64 / min(fan, 256)) ** 0.5,
                )
            weight.normal_(mean, wide, generator=generator)


def _published(animal: Animal, model: Any) -> dict[str, Any]:
    """The tensors under their published names: transformers' own way back to them, then the
    animal's."""
    import torch
    from safetensors.torch import load_file

    with TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        tensors = load_file(Path(saved) / "model.safetensors")
    dtype = getattr(torch, animal.dtype)
    named = {animal.rename(name): tensor.to(dtype) for name, tensor in tensors.items()}
    for name in named:
        if name.endswith(animal.turned):
            named[name] = named[name].mT.contiguous()
    generator = torch.Generator().manual_seed(SEED)
    for name, shape in animal.extra.items():
        named[name] = torch.randn(shape, generator=generator).to(dtype)
    named |= {again: named[name].clone() for again, name in animal.twice.items()}
    return named


def _store_whole(tensors: dict[str, Any], folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _store(animal: Animal, tensors: dict[str, Any], folder: Path) -> None:
    from safetensors.torch import save_file

    if animal.shards == 1:
        _store_whole(tensors, folder)
        return
    names, index = sorted(tensors), {}
    for shard in range(animal.shards):
        file = f"model-{shard + 1:05}-of-{animal.shards:05}.safetensors"
        part = names[
            shard * len(names) // animal.shards : (shard + 1) * len(names) // animal.shards
        ]
        save_file(
            {name: tensors[name].contiguous() for name in part}, folder / file, {"format": "pt"}
        )
        index.update(dict.fromkeys(part, file))
    total = sum(tensor.numel() * tensor.itemsize for tensor in tensors.values())
    content: Json = {"metadata": {"total_size": total}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps(content, indent=2, sort_keys=True) + "\n"
    )
