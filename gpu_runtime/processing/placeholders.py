"""How a prompt names an item: the processor's token, and the marks that the checkpoint's chat
template puts around it."""

from typing import Any

from ...protocol.errors import EngineError
from ...protocol.facts import PlaceholderFacts
from ...protocol.requests.request import Modality
from .calls import sub_processor
from .types import Kind

_MARKS: dict[Kind, tuple[tuple[str, str], ...]] = {
    "image": (
        ("image_start_token_id", "image_end_token_id"),
        ("vision_start_token_id", "vision_end_token_id"),
    ),
    "video": (
        ("video_start_token_id", "video_end_token_id"),
        ("vision_start_token_id", "vision_end_token_id"),
    ),
    "audio": (("audio_start_token_id", "audio_end_token_id"),),
}
"""What configurations call the marks, for a checkpoint whose template names no items."""
_TOWERS = {"image": "vision_config", "video": "vision_config", "audio": "audio_config"}
"""The part of a configuration that describes the tower; where it is null, the model was published
without."""
_PLAIN = "\u00a7"


def find_placeholders(
    processor: Any, config: Any, ids: dict[Kind, int]
) -> dict[Modality, PlaceholderFacts]:
    """Of every modality that the processor has a token and a part for, and the model a tower.
    Raises EngineError where no token stands for rows."""
    found: dict[Modality, PlaceholderFacts] = {}
    for kind in _MARKS:
        token = getattr(processor, f"{kind}_token", None)
        towerless = getattr(config, _TOWERS[kind], config) is None
        if towerless or not isinstance(token, str) or sub_processor(processor, kind) is None:
            continue
        row = ids.get(kind, ids.get("image") if kind == "video" else None)
        if row is None:
            raise EngineError(
                f"Neither config.json nor the processor of the model says which token a row of "
                f"its {kind} is."
            )
        row_token = processor.tokenizer.convert_ids_to_tokens(row)
        text = _in_template(processor, kind, token) or _in_config(processor, config, kind, token)
        found[kind] = PlaceholderFacts(
            token=token, text=text, embed_token=row_token or token, embed_token_id=row
        )
    return found


def _in_template(processor: Any, kind: Kind, token: str) -> str:
    """The token with the special tokens beside it that the template writes for an item alone; "":
    it writes no such token."""
    text = {"type": "text", "text": _PLAIN}
    try:
        with_item, without = _render(processor, [{"type": kind}, text]), _render(processor, [text])
    except Exception:  # a template may refuse parts, in words of its own
        return ""
    if with_item.count(token) != 1:
        return ""
    special = sorted(map(str, processor.tokenizer.get_added_vocab()), key=len, reverse=True)
    marks = [one for one in special if with_item.count(one) > without.count(one) and one != token]
    before, after = with_item.split(token)
    left, right = "", ""
    while mark := next((word for word in marks if before.endswith(word)), ""):
        before, left = before.removesuffix(mark), mark + left
    while mark := next((word for word in marks if after.startswith(word)), ""):
        after, right = after.removeprefix(mark), right + mark
    return f"{left}{token}{right}"


def _render(processor: Any, content: list[dict[str, str]]) -> str:
    owner = processor if processor.chat_template else processor.tokenizer
    return str(owner.apply_chat_template([{"role": "user", "content": content}], tokenize=False))


def _in_config(processor: Any, config: Any, kind: Kind, token: str) -> str:
    for names in _MARKS[kind]:
        marks = [getattr(config, name, None) for name in names]
        ids = [mark for mark in marks if isinstance(mark, int)]
        words = [processor.tokenizer.convert_ids_to_tokens(id) for id in ids]
        if len(words) == 2 and all(isinstance(word, str) for word in words):
            return f"{words[0]}{token}{words[1]}"
    return token
