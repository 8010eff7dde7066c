"""What is found of published checkpoints, and whether it is what their own files state.

    scripts/dev published FOLDER ...

A folder needs nothing but its config.json: what depends on weights, tokenizers or processors is
left out where these are not there. One line a folder; exits with 1 where something that is found
contradicts what a file states.
"""

import argparse
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers.utils import logging as library_logging

from thespis.gpu_runtime.facts.model import end_ids, stated_dtype
from thespis.gpu_runtime.inspection.config_forms import text_config, text_part, unwrap
from thespis.gpu_runtime.inspection.hf import build_on_meta, load_config, read_config
from thespis.gpu_runtime.inspection.measure import (
    Layers,
    deepstack_levels,
    measure_layers,
    per_layer_width,
    position_planes,
)
from thespis.gpu_runtime.inspection.spans import measure_spans
from thespis.protocol.checkpoint.json_files import Json
from thespis.protocol.checkpoint.quantization import stated_quantization
from thespis.protocol.errors import EngineError


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/dev published", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    library_logging.set_verbosity(logging.ERROR)
    wrong = [folder.name for folder in parser.parse_args().folders if not report(folder)]
    sys.exit(f"found and stated differ: {', '.join(wrong)}" if wrong else None)


def report(folder: Path) -> bool:
    """Print what is found; whether nothing of it contradicts the files."""
    if not (folder / "config.json").exists():
        print(f"{folder.name}: has no config.json")
        return True
    try:
        config = load_config(folder)
        model = build_on_meta(config)
        text = text_config(config)
        planes, spans, deep, width = (
            position_planes(model),
            measure_spans(model).layers,
            deepstack_levels(model),
            per_layer_width(model),
        )
        context = int(getattr(text, "max_position_embeddings", None) or 0)
        layers = measure_layers(model, context or sys.maxsize)
    except EngineError as error:
        print(f"{folder.name}: refused: {error}")
        return True
    stated = unwrap(read_config(folder))
    quantization = stated_quantization(read_config(folder))
    found = [
        type(model).__name__,
        f"{text.num_hidden_layers} x {text.hidden_size}, vocabulary {text.vocab_size}, context "
        f"{context}",
        *(_group(group) for group in layers.kv),
        *(
            f"{len(group.layers)} recurrent {group.conv} {group.state}"
            for group in layers.recurrent
        ),
        *([f"{planes} planes"] if planes > 1 else []),
        *([f"{len(spans)} layers with spans"] if spans else []),
        *([f"deepstack {deep}"] if deep else []),
        *([f"per-layer inputs {width}"] if width else []),
        f"ends {end_ids(folder, stated, config) or 'unknown'}",
        f"tied by its files: "
        f"{any(getattr(part, 'tie_word_embeddings', False) for part in (config, text))}",
        stated_dtype(stated) or "dtype of its weights",
        *([f"quantised: {quantization.get('quant_method')}"] if quantization else []),
    ]
    differing = list(contradictions(text_part(stated), text, layers))
    print(f"{folder.name}: {'; '.join(found)}; {', '.join(differing) or 'as stated'}")
    return not differing


def _group(group: Any) -> str:
    width = (
        str(group.key_dim)
        if group.key_dim == group.value_dim
        else f"{group.key_dim}/{group.value_dim}"
    )
    more = (f", window {group.window}" if group.window else "") + (
        f", read by {len(group.readers)} more" if group.readers else ""
    )
    return f"{len(group.layers)} x {group.kv_heads} heads of {width}{more}"


def contradictions(stated: Json, text: Any, layers: Layers) -> Iterator[str]:
    """Between what a file states of its text model and what was found; of layers that differ, one
    must be as stated."""
    for key in ("num_hidden_layers", "hidden_size", "vocab_size", "max_position_embeddings"):
        if isinstance(stated.get(key), int) and stated[key] != getattr(text, key):
            yield f"{key}: stated {stated[key]}, found {getattr(text, key)}"
    covered = {
        number
        for kind in (layers.kv, layers.recurrent)
        for group in kind
        for number in group.layers
    }
    covered |= {number for group in layers.kv for number in group.readers}
    if covered != set(range(text.num_hidden_layers)):
        yield f"{text.num_hidden_layers} layers, found {len(covered)}"
    latent = stated.get("kv_lora_rank") is not None
    for key, found in (("num_key_value_heads", "kv_heads"), ("head_dim", "key_dim")):
        value = stated.get(key)
        if (
            isinstance(value, int)
            and not latent
            and layers.kv
            and value not in {getattr(group, found) for group in layers.kv}
        ):
            yield f"{key}: stated {value}, found {getattr(layers.kv[0], found)}"
    window = stated.get("sliding_window") if stated.get("use_sliding_window", True) else None
    if (
        isinstance(window, int)
        and window < text.max_position_embeddings
        and not any(group.window for group in layers.kv)
    ):
        yield f"sliding_window: stated {window}, found none"


if __name__ == "__main__":
    main()
