"""What a checkpoint folder says of itself, read without torch: sizes, token ids, fingerprint, family."""

import ast
import json
from pathlib import Path
from typing import Any

import msgspec

from .errors import EngineError
from .facts import KvGroup, ModelFacts
from .foreign import foreign_file, foreign_folder, foreign_name
from .weight_files import fingerprint


def demo_model() -> Path:
    """The bundled checkpoint, in a checkout and in an installed wheel alike."""
    return Path(__file__).resolve().parent.parent / "demo_model"


def inspect(path: str | Path) -> ModelFacts:
    """Read a checkpoint folder. Raises EngineError that says what is missing or broken, and what to do."""
    name = str(path)
    folder = _folder(name)
    config = _read_json(folder, "config.json")
    if config is None:
        raise EngineError(f"{name!r} is no checkpoint folder: it has no config.json.")
    _refuse_quantized(config, name)
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
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise EngineError(f"The config.json of {name!r} is broken: {error} is missing or no number.") from error
    if min(info.values()) < 1:
        raise EngineError(f"The config.json of {name!r} is broken: {min(info, key=lambda key: info[key])} is below 1.")
    kv_heads, head_dim = info.pop("kv_heads"), info.pop("head_dim")
    every = tuple(range(info["layers"]))
    _check_tokenizer(folder, name)
    dtype = str(config.get("dtype") or config.get("torch_dtype") or text.get("dtype") or "float32")
    return ModelFacts(
        path=str(folder.resolve()),
        model_type=model_type,
        eos_token_ids=tuple(token for token in _eos(folder, config, text) if 0 <= token < info["vocab"]),
        dtype=dtype,
        kv_groups=(KvGroup(layers=every, kv_heads=kv_heads, key_dim=head_dim, value_dim=head_dim),),
        fingerprint=fingerprint(folder),
        layers=info["layers"],
        hidden=info["hidden"],
        vocab=info["vocab"],
        context=info["context"],
    )


def _folder(name: str) -> Path:
    """The folder of this name. Raises EngineError that says what it is instead."""
    try:
        folder = Path(name).expanduser()
        if not folder.exists():
            raise EngineError(foreign_name(name))
    except (OSError, ValueError, RuntimeError):  # a name that is too long, holds a NUL, or a home that is nobody's
        raise EngineError(foreign_name(name)) from None
    other = foreign_folder(folder, name) if folder.is_dir() else foreign_file(folder, name)
    if other is not None:
        raise EngineError(other)
    return folder


def _refuse_quantized(config: dict[str, Any], name: str) -> None:
    given = config.get("quantization_config")
    if given:
        method = given.get("quant_method", "unknown") if isinstance(given, dict) else "unknown"
        raise EngineError(f"The weights of {name!r} are quantised ({method}), which is not built: give the model unquantised.")


def _check_tokenizer(folder: Path, name: str) -> None:
    """That it is there and is JSON with a model; reading it is the detokenizer's and the preprocessor's business."""
    path = folder / "tokenizer.json"
    if not path.exists():
        raise EngineError(f"{name!r} has no tokenizer.json; slow tokenizers are not supported.")
    try:
        msgspec.json.decode(path.read_bytes(), type=_Tokenizer)
    except OSError as error:
        raise EngineError(f"tokenizer.json in {name!r} cannot be read: {error.strerror}.") from None
    except msgspec.DecodeError:
        raise EngineError(f"tokenizer.json in {name!r} is broken: it is no JSON, or holds no tokenizer.") from None


class _Tokenizer(msgspec.Struct):
    """What is looked at of a tokenizer.json."""

    model: dict[str, msgspec.Raw]


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


def _read_json(folder: Path, name: str) -> dict[str, Any] | None:
    """None: there is no such file. Raises EngineError for one that cannot be read, or holds no object."""
    try:
        value = json.loads((folder / name).read_text())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EngineError(f"{name} in {str(folder)!r} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise EngineError(f"{name} in {str(folder)!r} cannot be read as JSON.") from None
    if not isinstance(value, dict):
        raise EngineError(f"{name} in {str(folder)!r} holds no JSON object.")
    return value


def _text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The language model's part: a sub-configuration in most multimodal models, the top level in others."""
    outer = config.get("thinker_config", config)
    text = outer.get("text_config") if isinstance(outer, dict) else None
    return text if isinstance(text, dict) and "hidden_size" in text else config


def _eos(folder: Path, config: dict[str, Any], text: dict[str, Any]) -> tuple[int, ...]:
    generation = _read_json(folder, "generation_config.json") or {}
    for source in (generation, config, text):
        value = source.get("eos_token_id")
        if value is not None:
            ids = value if isinstance(value, list) else [value]
            if not all(type(id) is int for id in ids):
                raise EngineError(f"The eos_token_id of the model in {str(folder)!r} is no token id: {value!r}.")
            return tuple(ids)
    return ()
