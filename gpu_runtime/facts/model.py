"""The facts of a checkpoint: what its files state, what transformers fills in, and what its modules
show on meta."""

from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from transformers import PreTrainedConfig, PreTrainedModel

from ...protocol.checkpoint.end_tokens import end_tokens
from ...protocol.checkpoint.folder import MODULES, inspect
from ...protocol.checkpoint.json_files import Json
from ...protocol.checkpoint.quantization import quantization_of
from ...protocol.checkpoint.weight_files import stored_dtype
from ...protocol.config.engine import RunnerKind
from ...protocol.errors import EngineError
from ...protocol.facts import MOST_CONTEXT, ModelFacts
from ...protocol.requests.pooling import Pooler
from ..adapter.dividing import divide_model
from ..adapter.parts import ModelParts, take_apart
from ..inspection.config_forms import text_config, text_part, unwrap
from ..inspection.hf import build_on_meta, load_config, read_config
from ..inspection.measure import (
    adds_rows,
    answers_apart,
    deepstack_levels,
    looked_up,
    measure_layers,
    per_layer_width,
    position_planes,
)
from ..inspection.spans import measure_spans
from ..layers.int8 import can_hold
from ..pooling.files import pooler_of
from ..processing import Processor, load
from ..ranks.gang import Ranks
from ..weights.checkpoint import Checkpoint
from ..weights.companions import fingerprints
from .tokenizer_parts import tokenizer_parts
from .trial import try_towers

DTYPES = ("float32", "bfloat16", "float16")
OTHER_HEADS = ("Classification", "ClassificationModel", "RewardModel", "RewardModeling")
"""Ends of the names of classes whose answer is neither text nor a hidden state."""
DEFAULT_CONTEXT = 2048
"""Of a model that states none."""


def model_facts(folder: str | Path, runner: RunnerKind = "auto", ranks: int = 1) -> ModelFacts:
    """Everything that more than one process needs of the checkpoint in `folder`; takes a second or
    two, and no weights.

    `runner`: whether it is to make tokens or vectors; auto: what its files say that it was made
    for. `ranks`: how many processes compute it together. Raises EngineError that says what is
    missing, broken or not supported, and what to do.
    """
    facts, model = measured(folder, runner, ranks)
    return with_items(facts, model, load(facts.path))


def with_items(facts: ModelFacts, model: PreTrainedModel, processor: Processor) -> ModelFacts:
    """`facts` with what the checkpoint's processor tells. Renders the checkpoint's own chat
    template, and tries an item of each modality: what they do is for the caller to bound. Raises
    EngineError as `model_facts`."""
    placeholders = processor.placeholders()
    try_towers(model, facts, processor.tried)
    spans = [kind for kind in facts.span_modalities if kind in placeholders]
    ranges = {kind: processor.pixel_range(kind) for kind in placeholders}
    return msgspec.structs.replace(
        facts,
        placeholders=placeholders,
        span_token_ids=tuple(id for kind in spans for id in processor.marks(kind)),
        frame=processor.frame,
        siblings=dict(processor.siblings),
        media_options={kind: tuple(sorted(processor.options(kind))) for kind in placeholders},
        pixel_ranges={kind: bounds for kind, bounds in ranges.items() if bounds is not None},
        pixels=processor.pixels(),
        hears_clips=processor.hears_clips,
        sampling_rate=processor.sampling_rate,
        tokenizer_parts=tokenizer_parts(Path(facts.path), processor.tokenizer),
    )


def measured(
    folder: str | Path, runner: RunnerKind, ranks: int = 1
) -> tuple[ModelFacts, PreTrainedModel]:
    """All but what the checkpoint's processor tells, and the model on meta by which it was found:
    its towers are as they were. Raises EngineError as `model_facts`."""
    checkpoint = inspect(folder)
    path = Path(checkpoint.path)
    stated = unwrap(read_config(path))
    config = load_config(path)
    _refuse_hard_tokens(config)
    model = build_on_meta(config)
    text = text_config(config)
    vocab, unscored = _vocab(model)
    head = _head(Checkpoint(checkpoint.path, model), model)
    pooler = _pooler(path, stated, head, runner, int(text.hidden_size))
    parameters = sum(weight.numel() for weight in model.parameters())
    if pooler and head != "tied":  # a model of vectors does not load a head of its own
        parameters -= _weight(model.get_output_embeddings()).numel()
    folders = [checkpoint.fingerprint, *fingerprints(path)]
    layers = measure_layers(_of_one_rank(config, model, ranks), _context(text))
    spans = measure_spans(model)
    if spans.scope == "text" and pooler is None:
        raise EngineError(
            f"The model in {path.name!r} sees its text both ways, so that it can write none: it "
            f"makes vectors (runner=pooling)."
        )
    facts = ModelFacts(
        path=checkpoint.path,
        model_type=checkpoint.model_type,
        architecture=type(model).__name__,
        layers=int(text.num_hidden_layers),
        hidden=int(text.hidden_size),
        vocab=vocab,
        unscored=unscored,
        context=_context(text),
        context_stated=bool(_stated_context(text)),
        rope_bound=_rope_bound(text),
        answers_apart=answers_apart(model),
        kv_groups=layers.kv,
        recurrent=layers.recurrent,
        position_planes=position_planes(model),
        span_layers=spans.layers,
        span_modalities=spans.modalities,
        span_scope=spans.scope,
        span_windows=spans.windows,
        rows_added=adds_rows(model),
        deepstack_levels=deepstack_levels(model),
        per_layer_width=per_layer_width(model),
        looked_up=looked_up(model),
        tied=head == "tied",
        output="token" if pooler is None else "vector",
        pooler=pooler,
        eos_token_ids=_ends(path, stated, config, vocab, needed=pooler is None),
        dtype=stated_dtype(stated) or stored_dtype(path),
        quantization=quantization_of(read_config(path), str(folder)),
        parameters=parameters,
        held_parameters=_held(take_apart(model)),
        fingerprint=sha256("".join(folders).encode()).hexdigest() if folders[1:] else folders[0],
    )
    return facts, model


def _of_one_rank(config: PreTrainedConfig, model: PreTrainedModel, ranks: int) -> PreTrainedModel:
    """All ranks keep as much of a token. Raises EngineError where so many cannot divide the
    model."""
    if ranks == 1:
        return model
    part = build_on_meta(config)
    divide_model(take_apart(part), Ranks(0, ranks))
    return part


def _held(parts: ModelParts) -> int:
    layers: Any = {*parts.decoder.modules(), parts.head}
    return sum(layer.weight.numel() for layer in layers if can_hold(layer))


def _refuse_hard_tokens(config: PreTrainedConfig) -> None:
    """Raises EngineError where tokens of any text are looked up in a tower's table: its own forward
    does, but not by the table of its text model, so that nothing here would show it."""
    if getattr(getattr(config, "vision_config", None), "vocab_offset", None) is not None:
        raise EngineError(
            f"Models of type {config.model_type!r} look up the tokens around their items in tables "
            "of their towers, which is not built. Choose another model."
        )


def _rope_bound(text: PreTrainedConfig) -> int | None:
    """Up to which length all prompts are turned alike, by the kinds of rotary embedding that look
    at lengths."""
    ropes = getattr(text, "rope_parameters", None) or {}
    each = [rope for rope in ropes.values() if isinstance(rope, dict)] or [ropes]
    own = getattr(text, "original_max_position_embeddings", None) or _context(text)
    bounding = [rope for rope in each if rope.get("rope_type") in ("dynamic", "longrope")]
    bounds = [int(rope.get("original_max_position_embeddings") or own) for rope in bounding]
    return min(bounds, default=None)


def _vocab(model: Any) -> tuple[int, int]:
    """Tokens that the head scores, and how many more the embedding table has. Raises EngineError
    where that has fewer."""
    head = model.get_output_embeddings()
    rows = len(_weight(model.get_input_embeddings()))
    scored = rows if head is None else len(_weight(head))
    if scored > rows:
        raise EngineError(
            f"The head of {type(model).__name__} scores {scored} tokens; its embedding table has "
            f"{rows} rows."
        )
    return scored, rows - scored


def _weight(module: Any) -> torch.Tensor:
    """Of an embedding or a head, [vocab, hidden]."""
    weight: torch.Tensor = module.weight
    return weight


def _stated_context(text: PreTrainedConfig) -> Any:
    """None: it names none, as models that have nothing but states."""
    return getattr(text, "max_position_embeddings", None)


def _context(text: PreTrainedConfig) -> int:
    """Positions that the model was made for. Within one chunk of chunked attention everything sees
    everything before it."""
    context = int(_stated_context(text) or DEFAULT_CONTEXT)
    broken = f"The config.json is broken: max_position_embeddings={context}"
    if context < 1:
        raise EngineError(f"{broken}, which no prompt fits into.")
    if context > MOST_CONTEXT:
        raise EngineError(f"{broken} is beyond all measure.")
    chunked = "chunked_attention" in (getattr(text, "layer_types", None) or ())
    return min(context, int(text.attention_chunk_size)) if chunked else context


def _head(checkpoint: Checkpoint, model: Any) -> Literal["stored", "tied", "none"]:
    """A head that is stored is the head, whatever the configuration says.

    Raises EngineError for other weights that are not there, or of another shape.
    """
    head = model.get_output_embeddings()
    head = f"{next(name for name, part in model.named_modules() if part is head)}.weight"
    missing = [name for name in checkpoint.missing() if name != head]
    if missing:
        more = f" ({len(missing)} such weights)" if len(missing) > 1 else ""
        raise EngineError(
            f"The checkpoint {checkpoint.name!r} lacks the weight {missing[0]}{more}: is it whole, "
            "and of the type its config.json says?"
        )
    checkpoint.check_shapes()
    if checkpoint.holds(head):
        return "stored"
    parts = (model.config, text_config(model.config))
    tied = any(getattr(part, "tie_word_embeddings", False) for part in parts)
    return "tied" if tied else "none"


def _pooler(
    folder: Path, stated: Json, head: str, runner: RunnerKind, hidden: int
) -> Pooler | None:
    """How its vectors are made; None: it makes tokens. Those of a folder with
    sentence-transformers' files, and of a model without a head, are vectors. Raises EngineError
    where it is to make what it cannot."""
    if runner == "generate" and head == "none":
        raise EngineError(
            f"The checkpoint {folder.name!r} stores no head (such as lm_head.weight), and its "
            "config.json does not tie it to the embedding table (tie_word_embeddings): it is not "
            "whole, or makes vectors and no text (runner=pooling)."
        )
    if runner == "generate" or (
        runner == "auto" and head != "none" and not (folder / MODULES).exists()
    ):
        return None
    for name in stated.get("architectures") or ():
        if name.endswith(OTHER_HEADS):
            raise EngineError(
                f"The model in {folder.name!r} is a {name}: classifying and scoring are not built."
            )
    return pooler_of(folder, stated, hidden)


def end_ids(folder: Path, stated: Json, config: PreTrainedConfig) -> tuple[int, ...]:
    """The ends that the folder's files name, whether or not the model can say them; where they name
    none, its classes' own.

    Raises EngineError for what is no id.
    """
    own: list[int | None] = []
    for part in (config, text_config(config)):
        value = getattr(part, "eos_token_id", None)
        own += value if isinstance(value, list) else [value]
    named = end_tokens(folder, (stated, text_part(stated)))
    return named or tuple(id for id in dict.fromkeys(own) if id is not None)


def _ends(
    folder: Path, stated: Json, config: PreTrainedConfig, vocab: int, needed: bool
) -> tuple[int, ...]:
    """Those that the model can say. Raises EngineError where there is none and one is `needed`:
    answers would never end."""
    ends = tuple(id for id in end_ids(folder, stated, config) if 0 <= id < vocab)
    if needed and not ends:
        raise EngineError(
            f"The model in {str(folder)!r} names no end token that it can say, so that its answers "
            "would not end: write eos_token_id into its generation_config.json."
        )
    return ends


def stated_dtype(stated: Json) -> str | None:
    """As the configuration says, at its top or of the text model alone; None: it does not."""
    for part in (stated, text_part(stated)):
        named = str(part.get("dtype") or part.get("torch_dtype")).removeprefix("torch.")
        if named in DTYPES:
            return named
    return None
