"""How a checkpoint's vectors are made, as the files of sentence-transformers beside it say."""

from pathlib import Path
from typing import Any, TypeGuard, get_args

import msgspec

from ...protocol.checkpoint.folder import MODULES
from ...protocol.checkpoint.json_files import Json, read_object
from ...protocol.errors import EngineError
from ...protocol.requests.pooling import Activation, Dense, Pooler, Take
from .dense import open_dense

TAKES: dict[str, Take] = {
    "lasttoken": "last",
    "mean": "mean",
    "cls": "cls",
    "max": "max",
    "mean_sqrt_len_tokens": "mean_sqrt",
    "weightedmean": "weighted_mean",
}
"""By the name of sentence-transformers: what is built."""
OLDER = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
"""Switches of the older form, and the modes that they are."""
PROMPTS = "config_sentence_transformers.json"
OF_TEXT = "sentence_bert_config.json"
MOST_NUMBERS = 1 << 20
"""Of a vector, beyond which a Dense is broken."""


def pooler_of(folder: Path, stated: Json, hidden: int) -> Pooler:
    """`stated`: config.json; `hidden`: numbers of a state. Where nobody says anything: the last
    token's, with the length 1.

    Raises EngineError for a step between the states and the vector that is not built.
    """
    pooler = _of_modules(folder, hidden) if (folder / MODULES).exists() else Pooler()
    lengths = stated.get("matryoshka_dimensions") or []
    if not isinstance(lengths, list) or not all(_is_count(length) for length in lengths):
        raise EngineError(
            f"The config.json of {folder.name!r} is broken: matryoshka_dimensions={lengths!r} "
            f"are no lengths."
        )
    cut = bool(lengths) or stated.get("is_matryoshka") is True
    return msgspec.structs.replace(pooler, matryoshka=cut, dimensions=tuple(lengths))


def _of_modules(folder: Path, hidden: int) -> Pooler:
    """Transformer, Pooling, any number of Dense and Normalize, in this order, which is that of
    their work."""
    pooler = Pooler(normalize=False, **_prompts(folder))
    order = ("Transformer", "Pooling", "Dense", "Normalize")
    reached, width = 0, hidden
    for module in _modules(folder):
        kind, path = str(module.get("type")).rpartition(".")[2], str(module.get("path") or "")
        if kind == "Dropout":  # of training
            continue
        if kind not in order:
            raise EngineError(
                f"{MODULES} of {folder.name!r} names a {kind}, which is not built: vectors are "
                "made of hidden states by Pooling, Dense and Normalize alone."
            )
        if order.index(kind) < reached or (kind == "Dense" and reached == 0):
            raise EngineError(
                f"{MODULES} of {folder.name!r} has a {kind} where none is built: the order is "
                f"{', '.join(order)}."
            )
        reached = order.index(kind)
        match kind:
            case "Transformer":
                _check_text(folder, path)
            case "Pooling":
                pooler = msgspec.structs.replace(pooler, take=_take(folder, path, pooler))
            case "Dense":
                layer = _dense(folder, path, width)
                width = layer.outputs
                pooler = msgspec.structs.replace(pooler, dense=(*pooler.dense, layer))
            case _:
                pooler = msgspec.structs.replace(pooler, normalize=True)
    return pooler


def _modules(folder: Path) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode((folder / MODULES).read_bytes(), type=list[dict[str, Any]])
    except (OSError, msgspec.DecodeError, RecursionError):
        raise EngineError(
            f"{MODULES} in {folder.name!r} cannot be read, or is no list of modules."
        ) from None


def _inner(folder: Path, path: str) -> Json:
    inner = (folder / path).resolve()
    if not inner.is_relative_to(folder.resolve()):
        raise EngineError(f"{MODULES} of {folder.name!r} names a folder outside: {path!r}.")
    return read_object(inner, "config.json")


def _check_text(folder: Path, path: str) -> None:
    """What is done to a text before it is tokenised. Raises EngineError."""
    if path:
        raise EngineError(
            f"{MODULES} of {folder.name!r} has its Transformer in {path!r}: give a folder that "
            f"has it at the top."
        )
    if read_object(folder, OF_TEXT).get("do_lower_case"):
        raise EngineError(
            f"{OF_TEXT} of {folder.name!r} has texts in lower case (do_lower_case), which is not "
            f"built."
        )


def _take(folder: Path, path: str, pooler: Pooler) -> Take:
    said = _inner(folder, path)
    mode = said.get("pooling_mode")
    modes = [mode] if isinstance(mode, str) else [OLDER[key] for key in OLDER if said.get(key)]
    if len(modes) != 1 or modes[0] not in TAKES:
        named = ", ".join(modes) or "none"
        raise EngineError(
            f"The pooling of {folder.name!r} ({path or '.'}/config.json) is {named}, which is not "
            f"built: there are {', '.join(TAKES)}, one at a time."
        )
    if said.get("include_prompt") is False and any(pooler.prompts.values()):
        raise EngineError(
            f"The pooling of {folder.name!r} leaves out the tokens of prompts (include_prompt), "
            f"which is not built."
        )
    return TAKES[modes[0]]


def _dense(folder: Path, path: str, width: int) -> Dense:
    """`width`: numbers of what goes in."""
    said, where = _inner(folder, path), f"{path}/config.json of {folder.name!r}"
    inputs, outputs = said.get("in_features"), said.get("out_features")
    bias = said.get("bias", True)
    broken = EngineError(f"{where} is broken: a Dense has in_features, out_features and bias.")
    if not _is_count(inputs) or not _is_count(outputs) or outputs > MOST_NUMBERS:
        raise broken
    if not isinstance(bias, bool):
        raise broken
    if inputs != width:
        raise EngineError(f"{where} takes vectors of {inputs} numbers and would get {width}.")
    activation = str(said.get("activation_function", "Tanh")).rpartition(".")[2]
    known: tuple[Activation, ...] = get_args(Activation)
    named = next((one for one in known if one == activation), None)
    if named is None:
        raise EngineError(
            f"{where} has the activation {activation}, which is not built: there are "
            f"{', '.join(known)}."
        )
    if said.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise EngineError(
            f"{where} takes {said['module_input_name']}, which is not built: a Dense takes "
            f"pooled states."
        )
    layer = Dense(path=path, inputs=width, outputs=outputs, bias=bias, activation=named)
    open_dense(str(folder), layer)
    return layer


def _is_count(value: Any) -> TypeGuard[int]:
    """Of a vector's numbers."""
    return type(value) is int and value > 0


def _prompts(folder: Path) -> dict[str, Any]:
    """Fields of a Pooler."""
    said = read_object(folder, PROMPTS)
    prompts, default = said.get("prompts") or {}, said.get("default_prompt_name")
    sound = isinstance(prompts, dict) and all(isinstance(text, str) for text in prompts.values())
    if not sound or not (default is None or default in prompts):
        raise EngineError(
            f"{PROMPTS} of {folder.name!r} is broken: prompts are texts by name, and "
            f"default_prompt_name is one."
        )
    return {"prompts": prompts, "default_prompt": default}
