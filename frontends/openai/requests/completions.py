"""What a plain completion asks for. Pure; every refusal names the field."""

from typing import Any

from ....protocol.errors import invalid, refuse
from ....protocol.refusals import embeds_disabled
from ....protocol.requests.request import EmbedsPrompt
from ...inputs.embeds import read_prompt_embeds
from ...inputs.unread import Unread
from .common import Generation, read_prompts, sampling_of, shared_fields
from .guides import read_guide
from .schema import CompletionRequest

MAX_PROMPTS = 1024


def parse_completion(
    request: CompletionRequest, unread: Unread | None = None, *, embeds: bool = False
) -> list[Generation]:
    """One per prompt, those of embeddings first, which `embeds` allows. With `echo` and `logprobs`
    the prompt is scored too."""
    if request.echo and request.stream and request.logprobs is not None:
        text = "`echo` with `logprobs` is not supported when `stream` is true."
        raise refuse("unsupported", text, "echo", "unsupported")
    extra: dict[str, Any] = {
        "logprobs": request.logprobs,
        "max_tokens": 16 if request.max_tokens is None else request.max_tokens,
    }
    if prompt_only(request):
        extra["max_tokens"] = 1  # computed for the scores of the prompt, and not shown
    if request.echo and request.logprobs is not None and request.prompt_logprobs is None:
        extra["prompt_logprobs"] = request.logprobs
    guide = read_guide(request, unread or Unread())
    sampling = sampling_of(request, structured_outputs=guide, **extra)
    rows = _embeds_prompts(request, embeds)
    # Clients that must send a `prompt` beside embeddings send an empty one.
    prompts = [] if rows and not request.prompt else read_prompts(request.prompt)
    if len(rows) + len(prompts) > MAX_PROMPTS:
        raise invalid(f"At most {MAX_PROMPTS} prompts in one call.", "prompt", "too_many_prompts")
    several = not isinstance(request.prompt_embeds, str)
    made: dict[str, Any] = {"sampling": sampling, **shared_fields(request)}
    items = [
        read_prompt_embeds(text, f"prompt_embeds[{n}]" if several else "prompt_embeds")
        for n, text in enumerate(rows)
    ]
    embedded = [Generation(prompt=EmbedsPrompt(), media=(item,), **made) for item in items]
    given = request.prompt
    one = not isinstance(given, list) or isinstance(next(iter(given), None), int)
    return embedded + [
        Generation(prompt=prompt, where="prompt" if one else f"prompt[{n}]", **made)
        for n, prompt in enumerate(prompts)
    ]


def prompt_only(request: CompletionRequest) -> bool:
    """Whether the prompt is asked back, perhaps scored, and nothing more."""
    return bool(request.echo) and request.max_tokens == 0


def _embeds_prompts(request: CompletionRequest, enabled: bool) -> list[str]:
    """The prompts that are embeddings, in base64: no tokens that could be echoed or scored."""
    if request.prompt_embeds is None or request.prompt_embeds == []:
        return []
    if not enabled:
        raise embeds_disabled("prompt_embeds", "prompt_embeds")
    for name in ("echo", "prompt_logprobs"):
        if (value := getattr(request, name)) is not None and value is not False:
            text = (
                f"`{name}` needs the tokens of the prompt, which `prompt_embeds` does not tell; "
                f"leave one of them out."
            )
            raise refuse("unsupported", text, name, "unsupported")
    return (
        [request.prompt_embeds] if isinstance(request.prompt_embeds, str) else request.prompt_embeds
    )
