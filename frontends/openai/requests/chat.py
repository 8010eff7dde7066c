"""What a conversation asks for, answered or only tokenised. Every refusal names the field. Pure."""

from typing import Any

from ....protocol.errors import invalid, refuse
from ....protocol.requests.request import Prompt, TextPrompt
from ...inputs.messages import read_messages
from ...inputs.parts import Rules
from ...inputs.unread import Unread
from ..news.reading import reading_of
from ..tools.definitions import read_tools
from .common import (
    USUAL,
    ChatTerms,
    Generation,
    chat_prompt,
    guided,
    sampling_of,
    shared_fields,
    thinking_budget,
)
from .guides import read_guide
from .schema import ChatRequest, TokenizeRequest


def parse_chat(
    request: ChatRequest,
    unread: Unread | None = None,
    terms: ChatTerms = USUAL,
) -> Generation:
    """`unread` gathers what is ignored."""
    unread = unread or Unread()
    messages, media = read_messages(request.messages, Rules(terms.embeds), unread)
    if request.echo:
        raise refuse("unsupported", "`echo` is not supported in chat yet.", "echo", "unsupported")
    if request.prompt_embeds not in (None, []):
        text = "`prompt_embeds` is a whole prompt: send it to /v1/completions."
        raise refuse("unsupported", text, "prompt_embeds", "unsupported")
    # 0 is what clients send that send every field.
    if request.top_logprobs and not request.logprobs:
        raise invalid("`top_logprobs` needs `logprobs` to be true.", "top_logprobs")
    # The newer name wins, as at OpenAI, whose clients send both to servers of any age.
    limit = request.max_completion_tokens
    if limit is None:
        limit = request.max_tokens
    choice, parallel = request.tool_choice, request.parallel_tool_calls
    tools = read_tools(request.tools, choice, parallel, terms.style, unread)
    extra: dict[str, Any] = {
        "max_tokens": limit,
        "thinking_token_budget": thinking_budget(request),
        "logprobs": (request.top_logprobs or 0) if request.logprobs else None,
    }
    guide = read_guide(request, unread)
    prompt = chat_prompt(request, messages, tools)
    reading = reading_of(prompt, tools, terms.marks, request.include_reasoning is not False)
    extra |= guided(reading, guide)
    return Generation(
        prompt=prompt,
        media=tuple(media),
        sampling=sampling_of(request, **extra),
        reading=reading,
        **shared_fields(request),
    )


def parse_tokenize(request: TokenizeRequest, unread: Unread | None = None) -> Prompt:
    """A text or a conversation without media."""
    if (request.prompt is None) == (request.messages is None):
        raise invalid("Give either `prompt` or `messages`.", "prompt", "missing_field")
    if request.prompt is not None:
        return TextPrompt(request.prompt)
    assert request.messages is not None
    unread = unread or Unread()
    messages, media = read_messages(request.messages, Rules(), unread)
    if media:
        raise refuse(
            "unsupported", "Media are not supported here yet.", media[0].where, "unsupported"
        )
    return chat_prompt(request, messages, read_tools(request.tools, None, None, "hermes", unread))
