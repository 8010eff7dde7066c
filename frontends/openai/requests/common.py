"""What calls of several APIs ask for alike. Every refusal names the field. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ....protocol.chat_templates.reasoning import Marks
from ....protocol.chat_templates.tool_styles import Style
from ....protocol.errors import RequestError, invalid
from ....protocol.refusals import EMPTY_PROMPT
from ....protocol.requests.guide import Guide
from ....protocol.requests.pooling import PoolingParams
from ....protocol.requests.request import ChatMessage, ChatPrompt, TextPrompt, TokenPrompt
from ....protocol.requests.sampling import SamplingParams
from ...inputs.submission import Submission
from ..news.reading import Reading
from ..tools.definitions import ToolUse, tool_guide
from .schema import ChatRequest, Common, Templated, Vectorized

COPIED = (
    "n", "temperature", "top_p", "top_k", "min_p", "seed", "min_tokens",
    "include_stop_str_in_output", "ignore_eos",
    "presence_penalty", "frequency_penalty", "repetition_penalty", "prompt_logprobs",
    "skip_special_tokens", "stop", "bad_words", "stop_token_ids", "allowed_token_ids", "logit_bias",
)  # fmt: skip
"""Fields with the same meaning here and in SamplingParams."""
MOST_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512
"""Of `metadata`, as at OpenAI."""


class ChatTerms(msgspec.Struct, frozen=True):
    """What is to be known of a server and its model to read a conversation."""

    embeds: bool = False
    """Whether ready-made embeddings of media are taken."""
    style: Style = "hermes"
    """How the model writes tool calls."""
    marks: Marks | None = None
    """Of its thinking."""


USUAL = ChatTerms()


class Generation(Submission, frozen=True, kw_only=True):
    """One prompt of a call, and how it is answered."""

    sampling: SamplingParams
    priority: int = 0
    reading: Reading = Reading()
    """How the text of the answer is read."""
    where: str = ""
    """What its caller calls the prompt, where it is refused for what it is: `prompt[3]`."""


class Embedding(Submission, frozen=True, kw_only=True):
    """One input of a call that wants vectors."""

    pooling: PoolingParams
    priority: int = 0
    where: str = ""
    """What its caller calls it, where one of several is refused: `documents[3]`."""


def read_prompts(
    prompt: str | list[Any] | None, name: str = "prompt"
) -> list[TextPrompt | TokenPrompt]:
    """`name`: of the field."""
    if prompt is None:
        raise invalid("This field is required.", name, "missing_field")
    if isinstance(prompt, str):
        return [TextPrompt(prompt)]
    if not prompt:
        raise RequestError(msgspec.structs.replace(EMPTY_PROMPT, part=name))
    kinds = {type(entry) for entry in prompt}
    if len(kinds) > 1:
        raise invalid("The list mixes texts and token ids.", name, "wrong_type")
    if kinds == {str}:
        return [TextPrompt(text) for text in prompt]
    lists = [prompt] if kinds == {int} else prompt
    for index, ids in enumerate(lists):
        where = name if lists[0] is prompt else f"{name}[{index}]"
        if ids and max(ids) >= 1 << 64:
            raise invalid("It holds a number beyond 64 bits.", where, "out_of_range")
        if not ids:
            raise RequestError(msgspec.structs.replace(EMPTY_PROMPT, part=where))
        if min(ids) < 0:
            raise invalid("Token ids are not negative.", where, "out_of_range")
    return [TokenPrompt(tuple(ids)) for ids in lists]


def chat_prompt(
    request: ChatRequest | Templated,
    messages: tuple[ChatMessage, ...],
    tools: ToolUse | None = None,
    *,
    answered: bool = True,
    framed: bool | None = None,
) -> ChatPrompt:
    """`answered`: an answer follows, so that `add_generation_prompt` has its usual default."""
    go_on, generate = bool(request.continue_final_message), request.add_generation_prompt
    if generate and go_on:
        text = "It excludes `add_generation_prompt`."
        raise invalid(text, "continue_final_message", "contradicting_fields")
    return ChatPrompt(
        messages=messages,
        add_generation_prompt=answered and not go_on if generate is None else generate,
        continue_final_message=go_on,
        tools=() if tools is None else tools.definitions,
        template=request.chat_template,
        template_kwargs=_template_kwargs(request),
        framed=framed,
    )


def _template_kwargs(request: ChatRequest | Templated) -> dict[str, Any]:
    """With the switches of thinking that have a field of their own, which templates know by the
    same names. What stands in `chat_template_kwargs` goes before them."""
    own = {
        name: value
        for name in ("enable_thinking", "reasoning_effort")
        if (value := getattr(request, name, None)) is not None
    }
    return {**own, **(request.chat_template_kwargs or {})}


def check_metadata(pairs: Mapping[str, str] | None) -> None:
    """What a caller notes of a call for itself. Raises RequestError 400."""
    given = pairs or {}
    if len(given) > MOST_PAIRS or any(
        len(key) > LONGEST_KEY or len(value) > LONGEST_VALUE for key, value in given.items()
    ):
        text = (
            f"At most {MOST_PAIRS} pairs, keys of {LONGEST_KEY} characters and values of "
            f"{LONGEST_VALUE}."
        )
        raise invalid(text, "metadata", "out_of_range")


def thinking_budget(request: ChatRequest) -> int | None:
    """By any of its names. Raises RequestError 400 where they contradict each other."""
    names = ("thinking_token_budget", "thinking_budget", "max_thinking_tokens")
    given = {name: value for name in names if (value := getattr(request, name)) is not None}
    if len(set(given.values())) > 1:
        first, second = list(given)[:2]
        raise invalid(f"It differs from `{first}`.", second, "contradicting_fields")
    return next(iter(given.values()), None)


def shared_fields(request: Common | Vectorized) -> dict[str, Any]:
    """Of a submission, with the priority."""
    return {
        "mm_processor_kwargs": request.mm_processor_kwargs or {},
        "media_io_kwargs": request.media_io_kwargs or {},
        "priority": request.priority or 0,
    }


def guided(reading: Reading, wanted: Guide | None) -> dict[str, Any]:
    """Fields of SamplingParams with which an answer has the form that it is read in, and that is
    `wanted`. Raises RequestError 400."""
    guide = wanted if reading.tools is None else tool_guide(reading.tools, wanted)
    kept = {"skip_special_tokens": False} if reading.keeps_special else {}
    return {"structured_outputs": guide, **kept}


def sampling_of(request: Common, **extra: Any) -> SamplingParams:
    """`extra`: what holds unless the request says otherwise. Raises RequestError 400 with the field
    that is out of range."""
    told = {name: value for name in COPIED if (value := getattr(request, name)) is not None}
    given = extra | told
    if request.stream and request.prompt_logprobs is not None:
        raise invalid(
            "It is not available when `stream` is true.", "prompt_logprobs", "contradicting_fields"
        )
    if request.stream_options is not None and not request.stream:
        raise invalid("It needs `stream` to be true.", "stream_options", "contradicting_fields")
    return made_sampling(given)


def made_sampling(given: dict[str, Any], names: Mapping[str, str] = {}) -> SamplingParams:
    """`names`: what the caller calls a field that has another name here. Raises RequestError 400
    with the field that is out of range."""
    try:
        return SamplingParams(**given)
    except ValueError as error:
        # The texts of SamplingParams' errors are our own, and begin with the field's name.
        name, _, rest = str(error).partition(" ")
        if name not in SamplingParams.__struct_fields__:
            raise invalid(str(error), None, "out_of_range") from None
        name = names.get(name, name)
        raise invalid(f"{name} {rest}", name, "out_of_range") from None
