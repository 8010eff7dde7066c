"""The inputs of `generate`: prompts with media and their ids. Every refusal names the item.
Pure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...protocol.errors import invalid
from ...protocol.requests.request import (
    MODALITIES,
    EmbedsPrompt,
    Modality,
    Prompt,
    TextPrompt,
    TokenPrompt,
)
from ..validation import check_depth
from .embeds import read_prompt_embeds
from .media import Pending
from .parts import MAX_UUID
from .prompt_types import EMBEDS_KEYS, PROMPT_KEYS
from .python_media import read_raw, split
from .submission import Submission
from .unread import Unread, suggestion

if TYPE_CHECKING:
    from typing_extensions import TypeIs

PromptInput = str | Mapping[str, Any] | Sequence[int]
_DICT = "a dict with 'prompt', 'prompt_token_ids' or 'prompt_embeds'"


def is_prompt(given: object) -> "TypeIs[PromptInput]":
    """One prompt, rather than a list of several."""
    return isinstance(given, str | Mapping) or (
        isinstance(given, Sequence) and bool(given) and isinstance(given[0], int)
    )


def read_prompt(
    given: PromptInput, mm_processor_kwargs: Mapping[str, Any] | None = None
) -> Submission:
    """A string, token ids, or a dict: `prompt` or `prompt_token_ids`, with media, or
    `prompt_embeds`. The dict's own `mm_processor_kwargs` go before those given here."""
    processor = read_options(mm_processor_kwargs, "mm_processor_kwargs")
    if isinstance(given, str):
        return Submission(TextPrompt(given), mm_processor_kwargs=processor, text=given)
    if not isinstance(given, Mapping):
        text = f"A prompt is a string, token ids, or {_DICT}."
        return Submission(_token_prompt(given, text, "prompt"), mm_processor_kwargs=processor)
    Unread(strict=True).check(given, PROMPT_KEYS, "prompt")
    if given.get("prompt_embeds") is not None:
        return _embeds_prompt(given, processor)
    prompt: Prompt
    if given.get("prompt_token_ids") is not None:
        prompt = _token_prompt(given["prompt_token_ids"])
    elif isinstance(given.get("prompt"), str):
        prompt = TextPrompt(given["prompt"])
    else:
        raise invalid(f"A prompt is a string, or {_DICT}.", "prompt")
    return Submission(
        prompt,
        read_media(given.get("multi_modal_data") or {}, given.get("multi_modal_uuids") or {}),
        processor | read_options(given.get("mm_processor_kwargs"), "mm_processor_kwargs"),
        read_options(given.get("media_io_kwargs"), "media_io_kwargs"),
        given.get("prompt"),
    )


def read_options(given: Any, name: str) -> dict[str, Any]:
    """An optional dict; {} for None."""
    if not isinstance(given, Mapping | None):
        raise invalid("It must be a dict.", name, "wrong_type")
    check_depth(given, name)
    return dict(given or {})


def _token_prompt(
    ids: Sequence[Any],
    text: str = "Token ids are whole numbers.",
    part: str = "prompt_token_ids",
) -> TokenPrompt:
    try:
        return TokenPrompt(tuple(int(token) for token in ids))
    except (TypeError, ValueError):
        raise invalid(text, part) from None


def _embeds_prompt(given: Mapping[str, Any], processor: dict[str, Any]) -> Submission:
    """Its `prompt` is what the rows stand for, and only comes back."""
    for name, value in given.items():
        if name not in EMBEDS_KEYS and value is not None:
            text = (
                "It excludes `prompt_embeds`, whose rows are the whole prompt; leave one of them "
                "out."
            )
            raise invalid(text, name, "contradicting_fields")
    if not isinstance(meant := given.get("prompt"), str | None):
        raise invalid(
            "It must be a string: the text that the embeddings stand for.", "prompt", "wrong_type"
        )
    return Submission(
        EmbedsPrompt(),
        (read_prompt_embeds(given["prompt_embeds"], "prompt_embeds"),),
        processor,
        text=meant,
    )


def read_media(data: Mapping[str, Any], uuids: Mapping[str, Any]) -> tuple[Pending, ...]:
    """The items in the order image, video, audio; within one modality in the order given."""
    for name, given in (("multi_modal_data", data), ("multi_modal_uuids", uuids)):
        if not isinstance(given, Mapping):
            raise invalid("It must be a dict with a list per modality.", name)
        for modality in given:
            if modality not in MODALITIES:
                text = f"Unsupported modality: {modality!s:.80}{suggestion(modality, MODALITIES)}"
                raise invalid(text, name)
    items: list[Pending] = []
    for modality in MODALITIES:
        entries = split(modality, data[modality]) if modality in data else []
        ids = _ids(modality, uuids, len(entries))
        for index, (entry, uuid) in enumerate(zip(entries, ids, strict=True)):
            where = f"multi_modal_data['{modality}'][{index}]"
            content = None if entry is None else read_raw(modality, entry, where)
            items.append(Pending(modality, content, where, uuid))
    return tuple(items)


def _ids(modality: Modality, uuids: Mapping[str, Any], count: int) -> list[str | None]:
    if not uuids:
        return [None] * count
    given = uuids.get(modality)
    if not isinstance(given, str | list | tuple | None):
        text = "It must be a list with an id, or None, for each item."
        raise invalid(text, f"multi_modal_uuids['{modality}']", "wrong_type")
    names = [given] if isinstance(given, str) else list(given or ())
    if len(names) != count:
        raise invalid(
            f"If given, multi_modal_uuids['{modality}'] must have same length as "
            f"multi_modal_data['{modality}'], "
            f"but got {len(names)} vs {count}.",
            "multi_modal_uuids",
        )
    for index, name in enumerate(names):
        if name is not None and not (isinstance(name, str) and 1 <= len(name) <= MAX_UUID):
            where = f"multi_modal_uuids['{modality}'][{index}]"
            raise invalid(
                f"An id is a string of 1 to {MAX_UUID} characters, or None.", where, "invalid_uuid"
            )
    return names
