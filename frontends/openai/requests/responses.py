"""What a call of /v1/responses asks for. Pure; every refusal names the field."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from ....protocol.chat_templates.tool_styles import Style
from ....protocol.errors import RequestError, invalid, refuse
from ....protocol.requests.guide import Guide
from ....protocol.requests.request import ChatMessage, ChatPrompt, Text
from ...inputs.parts import Rules
from ...inputs.submission import Submission
from ...inputs.unread import Unread
from ..news.reading import Reading
from ..tools.definitions import ToolUse, read_tools
from .common import USUAL, ChatTerms, Generation, check_metadata, guided, sampling_of, shared_fields
from .guides import read_guide, schema_guide
from .response_items import REFERENCE, ItemReader, joined, placed
from .schema import Body, Common

LOGPROBS = "message.output_text.logprobs"
LONGEST_ID = 128
MOST_KEPT = 16 << 20
"""Bytes of the JSON of an input that is stored."""
ELSEWHERE = {
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
    "prompt_logprobs": None,
    "return_token_ids": None,
}
"""Fields of the chat API that are not here, and what stands for them."""
NOT_HERE = {
    "background": "Answers are not made in the background: read this one as a stream.",
    "conversation": "Conversations are not kept here: give `previous_response_id`, or all items.",
    "prompt": "Templates of prompts are not kept here: give `instructions` and `input`.",
}
TOOL_FIELDS = ("type", "name", "description", "parameters", "strict")


class ResponseRequest(Common, kw_only=True):
    input: str | list[Any] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    thinking_token_budget: int | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    include: list[str] | None = None
    top_logprobs: int | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    # Refused, see NOT_HERE.
    background: bool | None = None
    conversation: Any = None
    prompt: Any = None


class ResponseCall(Generation, frozen=True, kw_only=True):
    """Messages that are stored are still missing where it names any: see `completed`."""

    instructed: bool
    """The first message are its instructions, which stand before those of earlier responses."""
    echo: bytes
    """JSON of what the response says of its request."""
    items: bytes | None = None
    """JSON of the input's items, if they may be stored and are not too many bytes."""


class StoredItems(Body, kw_only=True):
    """Items of earlier responses, which stand before a call's own, or within them."""

    items: list[Any]


def parse_response(
    request: ResponseRequest, unread: Unread, terms: ChatTerms = USUAL
) -> ResponseCall:
    _check(request, unread)
    reader = ItemReader(Rules(terms.embeds), unread)
    if request.instructions is not None:
        reader.say("system", (Text(request.instructions),))
    reader.read(request.input, "input")
    tools = _tools(request, terms.style, unread)
    guide = _guide(request, unread)
    scored = LOGPROBS in (request.include or ()) or bool(request.top_logprobs)
    extra: dict[str, Any] = {
        "max_tokens": request.max_output_tokens,
        "logprobs": (request.top_logprobs or 0) if scored else None,
        "thinking_token_budget": request.thinking_token_budget,
    }
    reading = Reading(tools, terms.marks)
    extra |= guided(reading, guide)
    try:
        sampling = sampling_of(request, **extra)
    except RequestError as error:
        raise _named(
            error, {"max_tokens": "max_output_tokens", "logprobs": "top_logprobs"}
        ) from None
    return ResponseCall(
        prompt=ChatPrompt(
            messages=tuple(reader.messages),
            tools=() if tools is None else tools.definitions,
            template=request.chat_template,
            template_kwargs=_template_kwargs(request, unread),
        ),
        media=tuple(reader.media),
        sampling=sampling,
        reading=reading,
        instructed=request.instructions is not None,
        echo=_echo(request, sampling.temperature, sampling.top_p),
        items=_kept(request),
        **shared_fields(request),
    )


def parse_stored(request: StoredItems, terms: ChatTerms = USUAL) -> list[Submission]:
    """One for each item. They were taken once, so what is not read of them was told then."""
    found = []
    for item in request.items:
        reader = ItemReader(Rules(terms.embeds), Unread())
        reader.read([item], "previous_response_id")
        found.append(Submission(ChatPrompt(tuple(reader.messages)), tuple(reader.media)))
    return found


def references(asked: ResponseCall) -> list[str]:
    """The ids of items that it names."""
    assert isinstance(asked.prompt, ChatPrompt)
    return [one.extra["id"] for one in asked.prompt.messages if one.role == REFERENCE]


def completed(
    asked: ResponseCall, before: Sequence[Submission], named: Sequence[Submission]
) -> ResponseCall:
    """With the items `before` its own, and those that its `references` name."""
    assert isinstance(asked.prompt, ChatPrompt)
    messages: list[ChatMessage] = list(asked.prompt.messages)
    media = list(asked.media)
    at = int(asked.instructed)
    earlier: list[ChatMessage] = []
    for one in before:
        earlier += placed(one, len(media))
        media += one.media
    told = iter(named)
    own: list[ChatMessage] = []
    for message in messages[at:]:
        if message.role == REFERENCE:
            found = next(told)
            own += placed(found, len(media))
            media += found.media
        else:
            own.append(message)
    whole = joined([*messages[:at], *earlier, *own])
    if not whole:
        raise invalid("There must be at least one item.", "input", "empty_messages")
    prompt = msgspec.structs.replace(asked.prompt, messages=whole)
    return msgspec.structs.replace(asked, prompt=prompt, media=tuple(media))


def _check(request: ResponseRequest, unread: Unread) -> None:
    for name, text in NOT_HERE.items():
        if getattr(request, name) not in (None, False):
            raise refuse("unsupported", text, name, "unsupported")
    for name, ours in ELSEWHERE.items():
        if getattr(request, name) not in (None, False):
            text = f"It is not a field of this API{f'; give `{ours}`' if ours else ''}."
            raise refuse("unsupported", text, name, "unsupported")
    if request.n not in (None, 1):
        raise refuse("unsupported", "A response is one answer.", "n", "unsupported")
    if request.input in (None, []) and request.previous_response_id is None:
        raise invalid("There must be at least one item.", "input", "empty_messages")
    for name in ("previous_response_id", "safety_identifier", "prompt_cache_key", "service_tier"):
        if len(getattr(request, name) or "") > LONGEST_ID:
            raise invalid(f"It has more than {LONGEST_ID} characters.", name, "out_of_range")
    check_metadata(request.metadata)
    for name in request.include or ():
        if name != LOGPROBS:
            unread.tell("include")
    if request.truncation == "auto":
        unread.tell("truncation")
    if request.service_tier not in (None, "auto", "default"):
        unread.tell("service_tier")


def _guide(request: ResponseRequest, unread: Unread) -> Guide | None:
    guide, given = read_guide(request, unread), request.text or {}
    unread.check(given, ("format", "verbosity"), "text")
    verbosity = given.get("verbosity")
    if not isinstance(verbosity, str | None) or len(verbosity or "") > LONGEST_ID:
        raise invalid("Expected a word.", "text.verbosity", "wrong_type")
    if verbosity not in (None, "medium"):
        unread.tell("text.verbosity")
    wanted = given.get("format")
    if wanted is None:
        return guide
    if not isinstance(wanted, Mapping):
        raise invalid("Expected an object.", "text.format", "wrong_type")
    kind = wanted.get("type")
    if kind == "json_schema":
        unread.check(wanted, ("type", "name", "description", "schema", "strict"), "text.format")
        found = schema_guide(wanted.get("schema"), "text.format")
    elif kind in ("text", "json_object"):
        unread.check(wanted, ("type",), "text.format")
        found = Guide("json_object") if kind == "json_object" else None
    else:
        known = "text, json_object and json_schema"
        raise invalid(f"The types are {known}.", "text.format.type", "unsupported")
    if guide is not None and found is not None:
        raise invalid(
            "It excludes another form of guidance.", "text.format", "contradicting_fields"
        )
    return found or guide


def _tools(request: ResponseRequest, style: Style, unread: Unread) -> ToolUse | None:
    given = [_function(tool, f"tools[{n}]", unread) for n, tool in enumerate(request.tools or ())]
    choice = request.tool_choice
    if isinstance(choice, dict):
        choice = _choice(choice, unread)
    try:
        return read_tools(given, choice, request.parallel_tool_calls, style, unread)
    except RequestError as error:
        raise _named(error, {}) from None


def _function(tool: Mapping[str, Any], where: str, unread: Unread) -> dict[str, Any]:
    kind = tool.get("type")
    if kind != "function":
        text = "Of tools only functions are taken, which are yours to run; others are not here."
        raise refuse("unsupported", text, f"{where}.type", "unsupported")
    unread.check(tool, TOOL_FIELDS, where)
    names = TOOL_FIELDS[1:]
    function = {name: tool[name] for name in names if tool.get(name) is not None}
    return {"type": "function", "function": function}


def _choice(choice: Mapping[str, Any], unread: Unread) -> dict[str, Any]:
    """In the form of the chat API."""
    match choice:
        case {"type": "function"}:
            unread.check(choice, ("type", "name"), "tool_choice")
            return {"type": "function", "function": {"name": choice.get("name")}}
        case {"type": "allowed_tools"}:
            unread.check(choice, ("type", "mode", "tools"), "tool_choice")
            named = choice.get("tools")
            if not isinstance(named, list):
                raise invalid("Expected array.", "tool_choice.tools", "wrong_type")
            tools = [
                {"type": "function", "function": {"name": one.get("name")}}
                for one in named
                if isinstance(one, Mapping)
            ]
            return {
                "type": "allowed_tools",
                "allowed_tools": {"mode": choice.get("mode"), "tools": tools},
            }
    text = "It is none, auto, required, or of type function or allowed_tools."
    raise invalid(text, "tool_choice.type", "unsupported")


def _template_kwargs(request: ResponseRequest, unread: Unread) -> dict[str, Any]:
    """With the effort as templates know it; what stands in `chat_template_kwargs` goes before."""
    given = request.reasoning or {}
    unread.check(given, ("effort",), "reasoning")
    effort, own = given.get("effort"), dict[str, Any]()
    if effort is not None:
        if not isinstance(effort, str) or len(effort) > LONGEST_ID:
            raise invalid("Expected a word.", "reasoning.effort", "wrong_type")
        own = {"enable_thinking": False} if effort == "none" else {"reasoning_effort": effort}
    return {**own, **(request.chat_template_kwargs or {})}


def _named(error: RequestError, names: Mapping[str, str]) -> RequestError:
    """With the field's name here where the chat API calls it otherwise."""
    part = error.failure.part or ""
    own = names.get(part) or part.replace(".allowed_tools", "").replace(".function", "")
    text = error.failure.text.replace(part, own, 1) if part in names else error.failure.text
    return RequestError(msgspec.structs.replace(error.failure, text=text, part=own or None))


def _echo(request: ResponseRequest, temperature: float, top_p: float) -> bytes:
    text, reasoning = request.text or {}, request.reasoning or {}
    wanted = text.get("format") or {"type": "text"}
    if wanted.get("type") == "json_schema":
        wanted = {"name": "answer", **wanted}
    choice: Any = request.tool_choice
    return msgspec.json.encode(
        {
            "background": False,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "max_tool_calls": request.max_tool_calls,
            "metadata": request.metadata or {},
            "parallel_tool_calls": request.parallel_tool_calls is not False,
            "previous_response_id": request.previous_response_id,
            "prompt_cache_key": request.prompt_cache_key,
            "reasoning": {"effort": reasoning.get("effort"), "summary": None},
            "safety_identifier": request.safety_identifier,
            "service_tier": "default",
            "temperature": temperature,
            "text": {"format": wanted, "verbosity": text.get("verbosity") or "medium"},
            "tool_choice": "auto" if choice is None else choice,
            "tools": [_shown(tool) for tool in request.tools or ()],
            "top_logprobs": request.top_logprobs or 0,
            "top_p": top_p,
            "truncation": "disabled",
            "user": request.user,
        }
    )


def _shown(tool: Mapping[str, Any]) -> dict[str, Any]:
    optional = {"description": None, "parameters": None, "strict": False}
    return {**optional, **{name: tool[name] for name in TOOL_FIELDS if name in tool}}


def _kept(request: ResponseRequest) -> bytes | None:
    if request.store is False:
        return None
    given: Any = request.input or []
    if isinstance(given, str):
        text = {"type": "input_text", "text": given}
        given = [{"type": "message", "role": "user", "content": [text]}]
    encoded = msgspec.json.encode(given)
    return encoded if len(encoded) <= MOST_KEPT else None
