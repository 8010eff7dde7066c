"""From the body of a call to what is submitted: prompts, media, sampling. Pure; every refusal names the field."""

import re
from collections.abc import Sequence
from typing import Any

from ....protocol.errors import refuse
from ....protocol.requests.pooling import PoolingParams
from ....protocol.requests.request import ChatMessage, ChatPrompt, EmbedsPrompt, Prompt, TextPrompt, TokenPrompt
from ....protocol.requests.sampling import SamplingParams
from ...inputs.embeds import read_prompt_embeds
from ...inputs.messages import read_messages
from ...inputs.parts import Rules
from ...inputs.submission import Submission
from ...inputs.unread import Unread
from ..tools.definitions import ToolUse, read_tools, tool_guide
from ..tools.parsers import Style
from .guides import read_guide
from .schema import ChatRequest, Common, CompletionRequest, EmbeddingRequest, TokenizeRequest

MAX_PROMPTS = 1024
MAX_INPUTS = 2048
"""Of one call for vectors, as at OpenAI."""
COPIED = (
    "n", "temperature", "top_p", "top_k", "min_p", "seed", "min_tokens", "include_stop_str_in_output", "ignore_eos",
    "presence_penalty", "frequency_penalty", "repetition_penalty", "prompt_logprobs", "skip_special_tokens",
)  # fmt: skip
"""Fields with the same meaning here and in SamplingParams."""

OF_MESSAGES = ("add_generation_prompt", "continue_final_message", "chat_template", "chat_template_kwargs")
FUNCTION_KEYS = ("name", "description", "parameters", "strict", "return")
"""`return` is for the chat template, as transformers writes it."""


class Generation(Submission, frozen=True, kw_only=True):
    """One prompt of a call, and how it is answered."""

    sampling: SamplingParams
    priority: int = 0
    tools: ToolUse | None = None
    """The functions that the answer may call."""


class Embedding(Submission, frozen=True, kw_only=True):
    """One input of a call that wants vectors."""

    pooling: PoolingParams
    priority: int = 0


def parse_chat(
    request: ChatRequest, unread: Unread | None = None, *, embeds: bool = False, style: Style = "hermes"
) -> Generation:
    """`unread` gathers what is ignored; `style`: how the model writes tool calls."""
    unread = unread or Unread()
    messages, media = read_messages(request.messages, Rules(embeds), unread)
    if request.echo:
        raise refuse("unsupported", "`echo` is not supported in chat yet.", "echo", "unsupported")
    if request.prompt_embeds not in (None, []):
        text = "`prompt_embeds` is a whole prompt: send it to /v1/completions."
        raise refuse("unsupported", text, "prompt_embeds", "unsupported")
    if request.top_logprobs and not request.logprobs:  # 0 is what clients send that send every field
        raise refuse("invalid_request", "`top_logprobs` needs `logprobs` to be true.", "top_logprobs")
    if request.add_generation_prompt and request.continue_final_message:
        raise refuse(
            "invalid_request", "It excludes `add_generation_prompt`.", "continue_final_message", "contradicting_fields"
        )
    # The newer name wins, as at OpenAI, whose clients send both to servers of any age.
    limit = request.max_completion_tokens if request.max_completion_tokens is not None else request.max_tokens
    tools = read_tools(request.tools, request.tool_choice, request.parallel_tool_calls, style)
    extra: dict[str, Any] = {"max_tokens": limit, "logprobs": (request.top_logprobs or 0) if request.logprobs else None}
    guide = read_guide(request, unread)
    _check_choice(request.tool_choice, unread)
    _check_tools(request.tools or (), unread)
    if tools is not None:
        guide = tool_guide(tools, guide)
        if style == "hermes" and request.skip_special_tokens is None:
            extra["skip_special_tokens"] = False  # the tags of calls may be special tokens, which must stay in the text
    return Generation(
        prompt=_chat_prompt(request, messages, tools),
        media=tuple(media),
        sampling=_sampling(request, structured_outputs=guide, **extra),
        tools=tools,
        **_common(request),
    )


def parse_completion(request: CompletionRequest, unread: Unread | None = None, *, embeds: bool = False) -> list[Generation]:
    """One generation per prompt, those of embeddings first. With `echo` and `logprobs` the prompt is scored too.

    `embeds`: whether prompts may be embeddings.
    """
    if request.echo and request.stream and request.logprobs is not None:
        raise refuse("unsupported", "`echo` with `logprobs` is not supported when `stream` is true.", "echo", "unsupported")
    extra: dict[str, Any] = {
        "logprobs": request.logprobs,
        "max_tokens": 16 if request.max_tokens is None else request.max_tokens,
    }
    if prompt_only(request):
        extra["max_tokens"] = 1  # computed for the scores of the prompt, and not shown
    if request.echo and request.logprobs is not None and request.prompt_logprobs is None:
        extra["prompt_logprobs"] = request.logprobs
    sampling, common = _sampling(request, structured_outputs=read_guide(request, unread or Unread()), **extra), _common(request)
    rows = _embeds_prompts(request, embeds)
    # Clients that must send a `prompt` beside embeddings send an empty one.
    prompts = [] if rows and not request.prompt else _prompts(request.prompt)
    if len(rows) + len(prompts) > MAX_PROMPTS:
        raise refuse("invalid_request", f"At most {MAX_PROMPTS} prompts in one call.", "prompt", "too_many_prompts")
    several = not isinstance(request.prompt_embeds, str)
    items = [read_prompt_embeds(text, f"prompt_embeds[{n}]" if several else "prompt_embeds") for n, text in enumerate(rows)]
    return [
        *(Generation(prompt=EmbedsPrompt(), media=(item,), sampling=sampling, **common) for item in items),
        *(Generation(prompt=prompt, sampling=sampling, **common) for prompt in prompts),
    ]


def parse_embedding(request: EmbeddingRequest, unread: Unread | None = None, *, embeds: bool = False) -> list[Embedding]:
    """One for each input, or the one of the conversation."""
    if (request.input is None) == (request.messages is None):
        raise refuse("invalid_request", "Give either `input` or `messages`.", "input", "missing_field")
    try:
        pooling = PoolingParams(
            dimensions=request.dimensions,
            use_activation=request.use_activation,
            truncate_prompt_tokens=request.truncate_prompt_tokens,
            prompt_name=request.prompt_name,
        )
    except ValueError as error:  # the text is our own, and begins with the field
        raise refuse("invalid_request", str(error), str(error).partition(" ")[0], "out_of_range") from None
    common = {"pooling": pooling, **_common(request)}
    if request.messages is not None:
        messages, media = read_messages(request.messages, Rules(embeds), unread or Unread())
        return [Embedding(prompt=_vector_prompt(request, messages), media=tuple(media), **common)]
    for name in OF_MESSAGES:
        if getattr(request, name) not in (None, False, {}):
            raise refuse("invalid_request", "It belongs to `messages`, and there are none.", name, "contradicting_fields")
    prompts = _prompts(request.input, "input")
    if len(prompts) > MAX_INPUTS:
        raise refuse("invalid_request", f"At most {MAX_INPUTS} inputs in one call.", "input", "too_many_prompts")
    if request.add_special_tokens is False:
        prompts = [TextPrompt(prompt.text, framed=False) if isinstance(prompt, TextPrompt) else prompt for prompt in prompts]
    return [Embedding(prompt=prompt, **common) for prompt in prompts]


def _vector_prompt(request: EmbeddingRequest, messages: tuple[ChatMessage, ...]) -> ChatPrompt:
    """No answer follows: `add_generation_prompt` defaults to false."""
    if request.add_generation_prompt and request.continue_final_message:
        text = "It excludes `add_generation_prompt`."
        raise refuse("invalid_request", text, "continue_final_message", "contradicting_fields")
    return ChatPrompt(
        messages=messages,
        add_generation_prompt=bool(request.add_generation_prompt),
        continue_final_message=bool(request.continue_final_message),
        template=request.chat_template,
        template_kwargs=request.chat_template_kwargs or {},
        framed=request.add_special_tokens,
    )


def prompt_only(request: CompletionRequest) -> bool:
    """Whether the prompt is asked back, perhaps scored, and nothing more."""
    return bool(request.echo) and request.max_tokens == 0


def parse_tokenize(request: TokenizeRequest, unread: Unread | None = None) -> Prompt:
    """A text or a conversation without media."""
    if (request.prompt is None) == (request.messages is None):
        raise refuse("invalid_request", "Give either `prompt` or `messages`.", "prompt", "missing_field")
    if request.prompt is not None:
        return TextPrompt(request.prompt)
    assert request.messages is not None
    unread = unread or Unread()
    messages, media = read_messages(request.messages, Rules(), unread)
    if media:
        raise refuse("unsupported", "Media are not supported here yet.", media[0].where, "unsupported")
    _check_tools(request.tools or (), unread)
    return _chat_prompt(request, messages, read_tools(request.tools, None, None, "hermes"))


def _check_choice(choice: Any, unread: Unread) -> None:
    """A `tool_choice` that names a function."""
    if isinstance(choice, dict):
        unread.check(choice, ("type", "function"), "tool_choice")
        if isinstance(function := choice.get("function"), dict):
            unread.check(function, ("name",), "tool_choice.function")


def _check_tools(tools: Sequence[dict[str, Any]], unread: Unread) -> None:
    """What neither the grammar nor OpenAI's API knows of a tool, such as arguments under another name than `parameters`."""
    for index, tool in enumerate(tools):
        unread.check(tool, ("type", "function"), f"tools[{index}]")
        if isinstance(function := tool.get("function"), dict):
            unread.check(function, FUNCTION_KEYS, f"tools[{index}].function")


def _chat_prompt(
    request: ChatRequest | TokenizeRequest, messages: tuple[ChatMessage, ...], tools: ToolUse | None
) -> ChatPrompt:
    """`add_generation_prompt` defaults to the opposite of `continue_final_message`."""
    go_on, generate = bool(request.continue_final_message), request.add_generation_prompt
    return ChatPrompt(
        messages=messages,
        add_generation_prompt=not go_on if generate is None else generate,
        continue_final_message=go_on,
        tools=() if tools is None else tools.definitions,
        template=request.chat_template,
        template_kwargs=request.chat_template_kwargs or {},
    )


def _embeds_prompts(request: CompletionRequest, enabled: bool) -> list[str]:
    """The prompts that are given as embeddings, in base64. They have no tokens that could be echoed or scored."""
    if request.prompt_embeds is None or request.prompt_embeds == []:
        return []
    if not enabled:
        text = "You must set --enable-prompt-embeds to input prompt_embeds"
        raise refuse("unsupported", text, "prompt_embeds", "embeds_disabled")
    for name in ("echo", "prompt_logprobs"):
        if (value := getattr(request, name)) is not None and value is not False:
            text = f"`{name}` needs the tokens of the prompt, which `prompt_embeds` does not tell; leave one of them out."
            raise refuse("unsupported", text, name, "unsupported")
    return [request.prompt_embeds] if isinstance(request.prompt_embeds, str) else request.prompt_embeds


def _prompts(prompt: str | list[Any] | None, name: str = "prompt") -> list[TextPrompt | TokenPrompt]:
    """`name`: of the field."""
    if prompt is None:
        raise refuse("invalid_request", "This field is required.", name, "missing_field")
    if isinstance(prompt, str):
        return [TextPrompt(prompt)]
    if not prompt:
        raise refuse("invalid_request", "The prompt is empty.", name, "empty_prompt")
    kinds = {type(entry) for entry in prompt}
    if len(kinds) > 1:
        raise refuse("invalid_request", "The list mixes texts and token ids.", name, "wrong_type")
    if kinds == {str}:
        return [TextPrompt(text) for text in prompt]
    lists = [prompt] if kinds == {int} else prompt
    for index, ids in enumerate(lists):
        if not ids or min(ids) < 0:
            where = name if lists[0] is prompt else f"{name}[{index}]"
            raise refuse("invalid_request", "Token ids must be given and not be negative.", where, "empty_prompt")
    return [TokenPrompt(tuple(ids)) for ids in lists]


def _common(request: Common | EmbeddingRequest) -> dict[str, Any]:
    return {
        "mm_processor_kwargs": request.mm_processor_kwargs or {},
        "media_io_kwargs": request.media_io_kwargs or {},
        "priority": request.priority or 0,
    }


def _sampling(request: Common, **extra: Any) -> SamplingParams:
    """Raises RequestError 400 with the field that is out of range."""
    given = {name: value for name in COPIED if (value := getattr(request, name)) is not None} | extra
    if request.stream and request.prompt_logprobs is not None:
        raise refuse("invalid_request", "It is not available when `stream` is true.", "prompt_logprobs", "contradicting_fields")
    if request.stop is not None:
        given["stop"] = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop)
    if request.bad_words is not None:
        given["bad_words"] = (request.bad_words,) if isinstance(request.bad_words, str) else tuple(request.bad_words)
    if request.stop_token_ids is not None:
        given["stop_token_ids"] = tuple(request.stop_token_ids)
    if request.allowed_token_ids is not None:
        given["allowed_token_ids"] = tuple(request.allowed_token_ids)
    if request.logit_bias:
        given["logit_bias"] = _bias(request.logit_bias)
    try:
        return SamplingParams(**given)
    except ValueError as error:
        # The texts of SamplingParams' errors are our own, and begin with the field's name.
        name = str(error).split(" ", 1)[0]
        raise refuse(
            "invalid_request", str(error), name if name in SamplingParams.__struct_fields__ else None, "out_of_range"
        ) from None


def _bias(given: dict[str, float]) -> dict[int, float]:
    bias: dict[int, float] = {}
    for token, value in given.items():
        if not re.fullmatch(r"[0-9]{1,9}", token):
            raise refuse("invalid_request", "The keys must be token ids.", "logit_bias", "wrong_type")
        if not -100.0 <= value <= 100.0:
            raise refuse("invalid_request", "A bias must be between -100 and 100.", "logit_bias", "out_of_range")
        bias[int(token)] = value
    return bias
