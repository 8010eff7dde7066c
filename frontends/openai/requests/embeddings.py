"""What a call for vectors asks for. Pure; every refusal names the field."""

from ....protocol.errors import invalid
from ....protocol.requests.pooling import PoolingParams
from ....protocol.requests.request import TextPrompt
from ...inputs.messages import read_messages
from ...inputs.parts import Rules
from ...inputs.unread import Unread
from .common import USUAL, ChatTerms, Embedding, chat_prompt, read_prompts, shared_fields
from .schema import EmbeddingRequest, Templated

MAX_INPUTS = 2048
"""Of one call, as at OpenAI."""
OF_POOLING = ("dimensions", "use_activation", "truncate_prompt_tokens", "prompt_name")
OF_MESSAGES = Templated.__struct_fields__[1:]


def parse_embedding(
    request: EmbeddingRequest, unread: Unread | None = None, terms: ChatTerms = USUAL
) -> list[Embedding]:
    """One for each input, or the one of the conversation."""
    if (request.input is None) == (request.messages is None):
        raise invalid("Give either `input` or `messages`.", "input", "missing_field")
    try:
        pooling = PoolingParams(**{name: getattr(request, name) for name in OF_POOLING})
    except ValueError as error:  # the text is our own, and begins with the field
        raise invalid(str(error), str(error).partition(" ")[0], "out_of_range") from None
    common = {"pooling": pooling, **shared_fields(request)}
    if request.messages is not None:
        messages, media = read_messages(request.messages, Rules(terms.embeds), unread or Unread())
        prompt = chat_prompt(request, messages, answered=False, framed=request.add_special_tokens)
        return [Embedding(prompt=prompt, media=tuple(media), **common)]
    for name in OF_MESSAGES:
        if getattr(request, name) not in (None, False, {}):
            raise invalid(
                "It belongs to `messages`, and there are none.", name, "contradicting_fields"
            )
    prompts = read_prompts(request.input, "input")
    if len(prompts) > MAX_INPUTS:
        raise invalid(f"At most {MAX_INPUTS} inputs in one call.", "input", "too_many_prompts")
    for at, one in enumerate(prompts):
        if request.add_special_tokens is False and isinstance(one, TextPrompt):
            prompts[at] = TextPrompt(one.text, framed=False)
    given = request.input
    alone = isinstance(given, str) or bool(given and isinstance(given[0], int))
    return [
        Embedding(prompt=one, where="input" if alone else f"input[{at}]", **common)
        for at, one in enumerate(prompts)
    ]
