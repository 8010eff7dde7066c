"""What a call of /v1/messages asks for: Anthropic's blocks become the messages that every chat has.
Pure; every refusal names the field."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ....protocol.errors import RequestError, invalid, refuse
from ....protocol.requests.guide import Guide
from ....protocol.requests.request import ChatPrompt, Text
from ....protocol.requests.sampling import SamplingParams
from ...inputs.unread import Unread
from ..news.reading import Reading, reading_of
from ..tools.definitions import ToolUse, read_tools
from .anthropic_messages import read_turns
from .anthropic_thinking import AskedThinking, read_thinking
from .common import ChatTerms, Generation, guided, made_sampling
from .guides import schema_guide
from .schema import Body, Priority

NAMES = {"stop": "stop_sequences", "thinking_token_budget": "thinking.budget_tokens"}
"""Of fields of SamplingParams that are called otherwise here."""
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
TOOL_FIELDS = ("name", "description", "input_schema", "type", "strict", "cache_control")


class CountRequest(Body, kw_only=True):
    """A conversation of which only the tokens are counted."""

    messages: list[dict[str, Any]]
    system: str | list[Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    cache_control: Any = None
    output_config: dict[str, Any] | None = None
    output_format: dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    media_io_kwargs: dict[str, dict[str, Any]] | None = None
    request_id: str | None = None
    # Refused, see NOT_YET.
    mcp_servers: list[Any] | None = None
    container: Any = None


class MessagesRequest(CountRequest, kw_only=True):
    max_tokens: int
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    stream: bool | None = None
    metadata: dict[str, Any] | None = None
    priority: Priority | None = None


def parse_messages(request: MessagesRequest, unread: Unread, terms: ChatTerms) -> Generation:
    thought = _thinking(request, terms, unread)
    prompt, media, tools = _conversation(request, unread, terms, thought)
    reading = reading_of(prompt, tools, terms.marks, thought.shown)
    if request.metadata is not None:
        unread.check(request.metadata, ("user_id",), "metadata")
    return Generation(
        prompt=prompt,
        media=media,
        sampling=_sampling(request, reading, thought, _format(request, unread)),
        reading=reading,
        priority=request.priority or 0,
        **_options(request),
    )


def parse_count(request: CountRequest, unread: Unread, terms: ChatTerms) -> Generation:
    """Nothing is sampled of it."""
    thought = _thinking(request, terms, unread)
    prompt, media, _ = _conversation(request, unread, terms, thought)
    _format(request, unread)
    return Generation(prompt=prompt, media=media, sampling=SamplingParams(), **_options(request))


def _options(request: CountRequest) -> dict[str, Any]:
    return {
        "mm_processor_kwargs": request.mm_processor_kwargs or {},
        "media_io_kwargs": request.media_io_kwargs or {},
    }


def _thinking(request: CountRequest, terms: ChatTerms, unread: Unread) -> AskedThinking:
    effort = (request.output_config or {}).get("effort")
    return read_thinking(request.thinking, effort, terms.marks is not None, unread)


def _sampling(
    request: MessagesRequest, reading: Reading, thought: AskedThinking, guide: Guide | None
) -> SamplingParams:
    names = ("max_tokens", "temperature", "top_p", "top_k", "min_p", "seed")
    given = {name: value for name in names if (value := getattr(request, name)) is not None}
    if thought.budget is not None:
        given["thinking_token_budget"] = thought.budget
    if request.stop_sequences:
        given["stop"] = request.stop_sequences
    return made_sampling({**given, **guided(reading, guide)}, NAMES)


def _conversation(
    request: CountRequest, unread: Unread, terms: ChatTerms, thought: AskedThinking
) -> tuple[ChatPrompt, tuple[Any, ...], ToolUse | None]:
    messages, media = read_turns(request.messages, request.system, terms.embeds, unread)
    tools = _tools(request, terms, unread)
    goes_on, last = messages[-1].role == "assistant", f"messages[{len(request.messages) - 1}]"
    if goes_on and "tool_calls" in messages[-1].extra:
        text = "A tool_use is answered by a tool_result in the user's next message."
        raise invalid(text, last, "invalid_tool_call")
    if goes_on and not any(isinstance(part, Text) for part in messages[-1].content):
        text = "The answer goes on from the last message, if it is the assistant's: give its text."
        raise invalid(text, f"{last}.content", "missing_field")
    prompt = ChatPrompt(
        messages=messages,
        add_generation_prompt=not goes_on,
        continue_final_message=goes_on,
        tools=() if tools is None else tools.definitions,
        template_kwargs={**thought.switches, **(request.chat_template_kwargs or {})},
    )
    return prompt, tuple(media), tools


def _tools(request: CountRequest, terms: ChatTerms, unread: Unread) -> ToolUse | None:
    given = [_function(tool, f"tools[{at}]", unread) for at, tool in enumerate(request.tools or ())]
    choice, parallel = _choice(request.tool_choice, unread)
    try:
        return read_tools(given, choice, parallel, terms.style, unread)
    except RequestError as error:
        raise RequestError(
            msgspec.structs.replace(error.failure, part=_own_name(error.failure.part))
        ) from None


def _own_name(part: str | None) -> str | None:
    """Of a field that the chat API calls otherwise."""
    if part is None:
        return None
    return part.replace(".function.parameters", ".input_schema").replace(".function", "")


def _function(tool: Mapping[str, Any], where: str, unread: Unread) -> dict[str, Any]:
    if tool.get("type") not in (None, "custom"):
        text = "Tools that a server runs are not here; give a function of yours, `input_schema`."
        raise refuse("unsupported", text, f"{where}.type", "unsupported")
    if "input_schema" not in tool:
        raise invalid("This field is required.", f"{where}.input_schema", "missing_field")
    unread.check(tool, TOOL_FIELDS, where)
    names = {"name": "name", "description": "description", "input_schema": "parameters"}
    function = {ours: tool[name] for name, ours in names.items() if tool.get(name) is not None}
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    return {"type": "function", "function": function}


def _choice(given: Mapping[str, Any] | None, unread: Unread) -> tuple[Any, bool | None]:
    """As the chat API has it, and whether several calls may be made."""
    if given is None:
        return None, None
    unread.check(given, ("type", "name", "disable_parallel_tool_use"), "tool_choice")
    alone = given.get("disable_parallel_tool_use")
    if not isinstance(alone, bool | None):
        raise invalid("Expected bool.", "tool_choice.disable_parallel_tool_use", "wrong_type")
    parallel = None if alone is None else not alone
    kind = given.get("type")
    if kind == "tool":
        return {"type": "function", "function": {"name": given.get("name")}}, parallel
    if not isinstance(kind, str) or kind not in CHOICES:
        raise invalid("The types are auto, any, tool and none.", "tool_choice.type", "unsupported")
    return CHOICES[kind], parallel


def _format(request: CountRequest, unread: Unread) -> Guide | None:
    """Of the answer, by the newer field or the older."""
    config, where = request.output_config or {}, "output_config.format"
    unread.check(config, ("format", "effort"), "output_config")
    given = config.get("format")
    if given is None:
        given, where = request.output_format, "output_format"
    if given is None:
        return None
    if not isinstance(given, dict) or given.get("type") != "json_schema":
        raise invalid("The type is json_schema.", f"{where}.type", "unsupported")
    unread.check(given, ("type", "schema", "name"), where)
    return schema_guide(given.get("schema"), where)
