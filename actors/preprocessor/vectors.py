"""What a request for vectors says of its text: what stands before it, and how much of it is read.
Pure."""

import dataclasses
from collections.abc import Sequence

import msgspec

from ...protocol.errors import invalid, refuse
from ...protocol.requests.pooling import Pooler, PoolingParams
from ...protocol.requests.request import Request, TextPrompt
from ..prompting.prompt import Rendered
from ..prompting.tokens import TextTokenizer


def worded(request: Request, pooler: Pooler | None, most_text: int) -> Request:
    """With the text that is to be tokenised. `most_text`: characters beyond which nothing of a text
    that is cut can be read.

    Raises RequestError for a prompt that stands before nothing.
    """
    pooling, prompt = request.pooling, request.prompt
    if pooling is None or pooler is None:
        return request
    if not isinstance(prompt, TextPrompt):
        if pooling.prompt_name:
            text = "It stands before a text: token ids and conversations have their own."
            raise invalid(text, "prompt_name", "contradicting_fields")
        return request
    name = pooler.default_prompt if pooling.prompt_name is None else pooling.prompt_name
    text = (pooler.prompts.get(name, "") if name else "") + prompt.text
    if pooling.truncate_prompt_tokens is not None:
        text = text[:most_text]
    return msgspec.structs.replace(request, prompt=TextPrompt(text, prompt.framed))


def cut(rendered: Rendered, request: Request, tokenizer: TextTokenizer, context: int) -> Rendered:
    """As `truncate_prompt_tokens` says. Raises RequestError where it cannot be."""
    if request.pooling is None or request.pooling.truncate_prompt_tokens is None:
        return rendered
    if request.media:
        text = "A prompt with media is read as a whole: leave it out, or send smaller items."
        raise refuse("unsupported", text, "truncate_prompt_tokens", "unsupported")
    assert rendered.token_ids is not None, "what holds no items is tokenised at once"
    framed = rendered.framed and bool(rendered.text)
    before, behind = (len(tokenizer.prefix), tokenizer.suffix) if framed else (0, [])
    most = _most(request.pooling, before + len(behind), context)
    return dataclasses.replace(rendered, token_ids=_beginning(rendered.token_ids, most, behind))


def _most(pooling: PoolingParams, frame: int, context: int) -> int:
    """Tokens; `frame`: those of the tokenizer's own around a text."""
    most = context if pooling.truncate_prompt_tokens == -1 else pooling.truncate_prompt_tokens
    assert most is not None
    if most > context:
        text = f"It is more than the model's context of {context} tokens."
        raise invalid(text, "truncate_prompt_tokens", "out_of_range")
    if most < max(1, frame):
        text = (
            f"The tokenizer puts {frame} tokens around every text, and there must be room for them."
        )
        raise invalid(text, "truncate_prompt_tokens", "out_of_range")
    return most


def _beginning(token_ids: Sequence[int], most: int, behind: Sequence[int]) -> list[int]:
    """Of `most` tokens, `behind` the last of them."""
    if len(token_ids) <= most:
        return list(token_ids)
    return [*token_ids[: most - len(behind)], *behind]
