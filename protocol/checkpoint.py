"""What a checkpoint folder says of itself, read without torch: sizes, token ids, fingerprint, family."""

import ast
import json
import struct
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from .errors import EngineError

MAX_HEADER = 100 << 20
"""Bytes of a safetensors file's header, as in the safetensors library."""
SAMPLED_PAGES, PAGE_BYTES = 64, 4096
"""What a fingerprint reads of a weight file: enough to tell fine-tuned weights apart, and read in milliseconds."""


class ModelInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The numbers of a checkpoint that more than one process needs."""

    path: str
    model_type: str
    layers: int
    kv_heads: int
    head_dim: int
    hidden: int
    vocab: int
    context: int
    """max_position_embeddings, tokens."""
    eos_token_ids: tuple[int, ...]
    """Those that the model can say: one beyond its vocabulary is never chosen, and ends nothing."""
    dtype: str
    """Of the weights on disk: float32, bfloat16, float16."""
    fingerprint: str
    """Hex digest of configuration and weights: part of every item key."""


def demo_model() -> Path:
    """The bundled checkpoint, in a checkout and in an installed wheel alike."""
    return Path(__file__).resolve().parent.parent / "demo_model"


def inspect(path: str | Path) -> ModelInfo:
    """Read a checkpoint folder. Raises EngineError that says what is missing or broken, and what to do."""
    folder = Path(path).expanduser()
    name = str(path)
    if not folder.exists():
        raise EngineError(
            f"No model at {name!r}: give the folder of a Hugging Face checkpoint (config.json, *.safetensors, tokenizer.json)."
        )
    config = _read_json(folder, "config.json")
    if config is None:
        raise EngineError(f"{name!r} is no checkpoint folder: it has no config.json.")
    text = _text_config(config)
    try:
        heads = int(text["num_attention_heads"])
        hidden = int(text["hidden_size"])
        info = {
            "layers": int(text["num_hidden_layers"]),
            "kv_heads": int(text.get("num_key_value_heads") or heads),
            "head_dim": int(text.get("head_dim") or hidden // heads),
            "hidden": hidden,
            "vocab": int(text["vocab_size"]),
            "context": int(text.get("max_position_embeddings") or 2048),
        }
        model_type = str(config["model_type"])
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError(f"The config.json of {name!r} is broken: {error} is missing or no number.") from error
    if not (folder / "tokenizer.json").exists():
        raise EngineError(f"{name!r} has no tokenizer.json; slow tokenizers are not supported.")
    dtype = str(config.get("dtype") or config.get("torch_dtype") or text.get("dtype") or "float32")
    return ModelInfo(
        path=str(folder.resolve()),
        model_type=model_type,
        eos_token_ids=tuple(token for token in _eos(folder, config, text) if 0 <= token < info["vocab"]),
        dtype=dtype,
        fingerprint=_fingerprint(folder),
        **info,
    )


def declared_model_types(module: Path) -> tuple[str, ...]:
    """The `MODEL_TYPES` that a family's file declares, read without importing it."""
    for node in ast.parse(module.read_text()).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == "MODEL_TYPES" and isinstance(node, ast.Assign | ast.AnnAssign):
            assert node.value is not None
            return tuple(ast.literal_eval(node.value))
    return ()


def find_family(folder: Path, model_type: str) -> str:
    """The module in `folder` that declares `model_type`. Raises EngineError naming those that are known."""
    known: list[str] = []
    for module in sorted(folder.glob("*.py")):
        types = declared_model_types(module)
        if model_type in types:
            return module.stem
        known.extend(types)
    raise EngineError(f"Models of type {model_type!r} are not supported; known: {', '.join(sorted(known))}.")


def _read_json(folder: Path, name: str) -> Any:
    try:
        return json.loads((folder / name).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EngineError(f"{name} in {str(folder)!r} cannot be read as JSON.") from error


def _text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The language model's part: a sub-configuration in most multimodal models, the top level in others."""
    text = config.get("thinker_config", config).get("text_config")
    return text if isinstance(text, dict) and "hidden_size" in text else config


def _eos(folder: Path, config: dict[str, Any], text: dict[str, Any]) -> tuple[int, ...]:
    generation = _read_json(folder, "generation_config.json") or {}
    for source in (generation, config, text):
        value = source.get("eos_token_id")
        if value is not None:
            return tuple(int(v) for v in (value if isinstance(value, list) else [value]))
    return ()


def _fingerprint(folder: Path) -> str:
    """sha256 over the small files whole, and of each weight file its size, header and `SAMPLED_PAGES` evenly spaced pages."""
    digest = sha256()
    small = ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer.json")
    for name in small:
        path = folder / name
        digest.update(name.encode() + (path.read_bytes() if path.exists() else b"-"))
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise EngineError(f"{str(folder)!r} holds no *.safetensors weights (pickled *.bin weights are never loaded).")
    for path in weights:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 2 <= length <= min(size - 8, MAX_HEADER):
                raise EngineError(f"{path.name} in {str(folder)!r} is broken: it is no safetensors file.")
            digest.update(path.name.encode() + head + file.read(length) + str(size).encode())
            for page in range(SAMPLED_PAGES):
                file.seek(size * page // SAMPLED_PAGES)
                digest.update(file.read(PAGE_BYTES))
    return digest.hexdigest()
