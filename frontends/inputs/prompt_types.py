"""The dicts that `generate` takes as prompts, as types for a caller's type checker."""

from typing import Any, NotRequired, Required, TypedDict


class _Common(TypedDict):
    multi_modal_data: NotRequired[dict[str, Any]]
    """Items by modality."""
    multi_modal_uuids: NotRequired[dict[str, Any]]
    """A name of one's own for each item, or None."""
    mm_processor_kwargs: NotRequired[dict[str, Any]]
    media_io_kwargs: NotRequired[dict[str, Any]]


class TextPrompt(_Common):
    """`TextPrompt(prompt="Hello")`: a text with the model's own placeholders."""

    prompt: Required[str]


class TokensPrompt(_Common):
    """`TokensPrompt(prompt_token_ids=[1, 2])`: token ids, and perhaps their text."""

    prompt_token_ids: Required[list[int]]
    prompt: NotRequired[str]


class EmbedsPrompt(TypedDict):
    """`EmbedsPrompt(prompt_embeds=rows)`: rows [tokens, hidden], and perhaps their text."""

    prompt_embeds: Required[Any]
    prompt: NotRequired[str]


EMBEDS_KEYS = frozenset(EmbedsPrompt.__annotations__)
PROMPT_KEYS = (
    frozenset(TextPrompt.__annotations__) | frozenset(TokensPrompt.__annotations__) | EMBEDS_KEYS
)
