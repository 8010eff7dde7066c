"""What a path or a name is that is no checkpoint folder, said to somebody who has to give
another."""

import os
import re
from collections.abc import Collection
from pathlib import Path

WANTED = (
    "the folder of a Hugging Face checkpoint (config.json, *.safetensors, tokenizer.json), or "
    "its id on a hub (ORG/NAME)"
)
_MAGIC = (
    (b"GGUF", ".gguf"),
    (b"ggml", ".ggml"),
    (b"\x80\x02", ".bin"),
    (b"\x80\x04", ".bin"),
    (b"\x89HDF", ".h5"),
)
"""How files begin that bear another name, and under which name they are known."""
_PICKLED = (
    "a file of pickled PyTorch weights, which may run code when it is loaded and is therefore "
    "never read; give"
)
_ARCHIVE = "an archive; unpack it, and give"
_NOT_READ = "which is not read here; give, of the model that it was made from,"
_FILES = {
    ".gguf": "a GGUF file, which an engine starts from by the file's own path; else give, of the "
    "model that it was made from,",
    ".ggml": f"a GGML file, a format of llama.cpp, {_NOT_READ}",
    **dict.fromkeys((".bin", ".pt", ".pth", ".ckpt"), _PICKLED),
    ".onnx": f"an ONNX model, {_NOT_READ}",
    ".tflite": f"a TFLite model, {_NOT_READ}",
    ".h5": "a file of Keras or TensorFlow, which is not read here; give, of the same model,",
    ".msgpack": "a file of Flax weights, which is not read here; give, of the same model,",
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".xz", ".zst", ".7z"), _ARCHIVE),
}
"""By ending: what such a file is, and what to do; `WANTED` follows."""
_FOLDERS = (
    (
        "adapter_config.json",
        "a LoRA adapter, which is only the difference to its base model; merge it into that "
        "model, and give",
    ),
    (
        "model_index.json",
        "a pipeline of diffusers, which draws pictures; Thespis generates text, and takes",
    ),
    (
        "params.json",
        "a checkpoint in its maker's own format (params.json); give, in the format of "
        "transformers,",
    ),
    ("saved_model.pb", "a model of TensorFlow, which is not read here; give, of the same model,"),
)
"""By a file that only such folders hold; looked for in this order."""
_WEIGHTS = (".gguf", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".h5", ".msgpack")
"""Of files that a checkpoint holds in place of *.safetensors; looked for in this order."""


def foreign_name(name: str) -> str:
    """What a name without a file behind it seems to be, and what to give instead: one sentence."""
    if re.match(r"[A-Za-z][\w+.-]*://", name):
        return f"{name!r} is an address, and none is taken: give {WANTED}."
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)*:[\w.-]+", name):
        return (
            f"No model at {name!r}. If that is an Ollama model: give its GGUF file, or that "
            f"file's id on a hub (ORG/NAME-GGUF:Q4_K_M); else {WANTED}."
        )
    if name.lower().endswith(".gguf"):
        return f"There is no file {name!r}. Give a GGUF file that is there, or {WANTED}."
    return f"No model at {name!r}: give a GGUF file, or {WANTED}."


def foreign_file(path: Path, name: str) -> str:
    """What a file is that was given in place of a folder."""
    if (path.parent / "config.json").is_file():
        holder = str(path.parent)
        return f"{name!r} is one file of a checkpoint: give the folder that holds it, {holder!r}."
    if path.suffix == ".safetensors":
        kind = "a file of weights alone, without the configuration of its model: give"
        return f"{name!r} is {kind} {WANTED}."
    begun = _begun_as(path)
    if path.suffix.lower() == ".gguf" and begun is None:
        kind = "no GGUF file, though it is called one: it does not begin as they do."
        return f"{name!r} is {kind} Give another, or {WANTED}."
    kind = _FILES.get(begun or path.suffix.lower(), "a file, but no GGUF file: give such a one, or")
    return f"{name!r} is {kind} {WANTED}."


def foreign_folder(folder: Path, name: str) -> str | None:
    """What a folder is that is no checkpoint, though it may hold a config.json; None: it may well
    be one."""
    names = _listed(folder)
    if (kind := _other_folder(names)) is not None or "config.json" in names:
        return kind and f"{name!r} is {kind} {WANTED}."
    inner = sorted(
        str(found.parent)
        for pattern in ("*", "snapshots/*")
        for found in folder.glob(f"{pattern}/config.json")
    )
    lacking = f"{name!r} is no checkpoint folder: it has no config.json"
    if inner:
        return f"{lacking}, but a folder below it has: give {inner[-1]!r}."
    if not names:
        return f"{name!r} is an empty folder, which has no config.json: give {WANTED}."
    other = _other_weights(names)
    return f"{lacking}. Give {WANTED}." if other is None else f"{lacking}. {other}"


def foreign_listing(names: Collection[str], name: str) -> str | None:
    """What a model on a hub is that is no checkpoint, by the names of its files; None: it may well
    be one."""
    if (kind := _other_folder(names)) is not None:
        return f"{name!r} is {kind} {WANTED}."
    weights = any(found.endswith(".safetensors") and "/" not in found for found in names)
    if weights and "config.json" in names:
        return None
    if (other := _other_weights(names)) is not None:
        return f"{name!r} holds no *.safetensors weights. {other}"
    lacking = "weights (*.safetensors)" if "config.json" in names else "config.json"
    return f"{name!r} is no checkpoint: it has no {lacking}. Give {WANTED}."


def _other_folder(names: Collection[str]) -> str | None:
    """What a folder of these files is, by one that only such folders hold."""
    for file, kind in _FOLDERS:
        if file in names and not (file == "params.json" and "config.json" in names):
            return kind
    return None


def _other_weights(names: Collection[str]) -> str | None:
    held = (ending for ending in _WEIGHTS if any(found.endswith(ending) for found in names))
    return next((f"It holds {_FILES[ending]} {WANTED}." for ending in held), None)


def _begun_as(path: Path) -> str | None:
    """The ending of the format that the file's first bytes show."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        return None
    return next((ending for magic, ending in _MAGIC if start.startswith(magic)), None)


def _listed(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
