"""What calls of Ollama's paths ask for: the conversations, prompts and inputs that every other API
has. Pure; every refusal names the field."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from ....protocol.chat_templates.reasoning import Marks
from ....protocol.errors import RequestError, invalid, refuse
from ....protocol.requests.guide import Guide
from ....protocol.requests.pooling import PoolingParams
from ....protocol.requests.request import ChatMessage, ChatPrompt, Slot, Text, TextPrompt
from ...inputs.media import Pending, read_base64
from ...inputs.messages import thinking_fields
from ...inputs.unread import Unread
from ...validation import check_sendable, wrong_field
from ..news.reading import Reading, reading_of
from ..tools.definitions import read_tools
from .common import ChatTerms, Embedding, Generation, guided, read_prompts
from .guides import schema_guide
from .ollama_options import read_sampling
from .schema import Body

MAX_INPUTS = 2048
EFFORTS = ("low", "medium", "high")
CALL_KEYS = ("id", "type", "function", "index")


class OllamaBody(Body, kw_only=True):
    """What all of them may contain."""

    tagged: ClassVar[bool] = True
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None
    """Taken and used for nothing: the one model stays loaded."""
    request_id: str | None = None


class OllamaAnswered(OllamaBody, kw_only=True):
    """What both that answer have in common."""

    stream: bool | None = None
    """They stream unless they are told not to."""
    format: str | dict[str, Any] | None = None
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class OllamaChat(OllamaAnswered, kw_only=True):
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None


class OllamaGenerate(OllamaAnswered, kw_only=True):
    prompt: str | None = None
    system: str | None = None
    images: list[str] | None = None
    raw: bool | None = None
    # Refused, see NOT_YET.
    suffix: str | None = None
    template: str | None = None
    context: list[int] | None = None


class OllamaEmbed(OllamaBody, kw_only=True):
    input: str | list[str] | None = None
    truncate: bool | None = None
    dimensions: int | None = None


class OllamaEmbeddings(OllamaBody, kw_only=True):
    """The older form, of one text."""

    prompt: str | None = None


class OllamaShow(Body, kw_only=True):
    tagged: ClassVar[bool] = True
    name: str | None = None
    verbose: bool | None = None

    def __post_init__(self) -> None:
        self.model = self.model or self.name


class GivenLine(msgspec.Struct, kw_only=True):
    """One message as the caller sends it."""

    role: str
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    thinking: str | None = None


def parse_ollama_chat(request: OllamaChat, unread: Unread, terms: ChatTerms) -> list[Generation]:
    """Without messages nothing is asked: the caller wants the model loaded, and it is."""
    tools = read_tools(request.tools, None, None, terms.style, unread)
    if not request.messages:
        return []
    media: list[Pending] = []
    messages = tuple(
        _message(given, f"messages[{at}]", media, unread)
        for at, given in enumerate(request.messages)
    )
    goes_on = messages[-1].role == "assistant" and "tool_calls" not in messages[-1].extra
    prompt = ChatPrompt(
        messages=messages,
        add_generation_prompt=not goes_on,
        continue_final_message=goes_on,
        tools=() if tools is None else tools.definitions,
        template_kwargs=_switches(request.think, terms.marks, unread),
    )
    reading = reading_of(prompt, tools, terms.marks, request.think is not False)
    return [_generation(request, prompt, media, reading, unread)]


def parse_ollama_generate(
    request: OllamaGenerate, unread: Unread, terms: ChatTerms
) -> list[Generation]:
    if not request.prompt and not request.images:
        return []
    media: list[Pending] = []
    slots = _images(request.images, "images", media)
    text = request.prompt or ""
    if request.raw:
        if request.system:
            text = "A raw prompt is all that the model gets."
            raise invalid(text, "system", "contradicting_fields")
        return [_generation(request, TextPrompt(text), media, Reading(), unread)]
    asked = ChatMessage("user", (*slots, *([Text(text)] if text else ())))
    system = [ChatMessage("system", (Text(request.system),))] if request.system else []
    switches = _switches(request.think, terms.marks, unread)
    chat = ChatPrompt((*system, asked), template_kwargs=switches)
    reading = Reading(None, terms.marks, request.think is not False)
    return [_generation(request, chat, media, reading, unread)]


def parse_ollama_embed(request: OllamaEmbed | OllamaEmbeddings, unread: Unread) -> list[Embedding]:
    """What does not fit is cut, unless the caller would rather have it refused."""
    if request.options:
        unread.tell("options")
    cut: int | None = -1
    dimensions = None
    if isinstance(request, OllamaEmbeddings):
        if not request.prompt:
            raise invalid("This field is required.", "prompt", "missing_field")
        prompts = read_prompts(request.prompt, "prompt")
    else:
        dimensions = request.dimensions
        cut = None if request.truncate is False else -1
        prompts = read_prompts(request.input, "input")
    if len(prompts) > MAX_INPUTS:
        raise invalid(f"At most {MAX_INPUTS} inputs in one call.", "input", "too_many_prompts")
    try:
        pooling = PoolingParams(truncate_prompt_tokens=cut, dimensions=dimensions)
    except ValueError as error:  # the text is our own, and begins with the field
        raise invalid(str(error), str(error).partition(" ")[0], "out_of_range") from None
    return [Embedding(prompt=prompt, pooling=pooling) for prompt in prompts]


def _generation(
    request: OllamaAnswered,
    prompt: ChatPrompt | TextPrompt,
    media: Sequence[Pending],
    reading: Reading,
    unread: Unread,
) -> Generation:
    extra = guided(reading, _guide(request.format))
    if request.logprobs or request.top_logprobs:
        extra["logprobs"] = request.top_logprobs or 0
    sampling = read_sampling(request.options or {}, unread, **extra)
    return Generation(prompt=prompt, media=tuple(media), sampling=sampling, reading=reading)


def _switches(think: bool | str | None, marks: Marks | None, unread: Unread) -> dict[str, Any]:
    """For the chat template, which may know them."""
    if think is None or think == "":
        return {}
    if isinstance(think, str) and think not in EFFORTS:
        text = f"It is true, false, or one of {', '.join(EFFORTS)}."
        raise invalid(text, "think", "unsupported")
    if marks is None:
        if think:
            unread.tell("think")
        return {}
    effort = {"reasoning_effort": think} if isinstance(think, str) else {}
    return {"enable_thinking": think is not False, **effort}


def _guide(given: str | Mapping[str, Any] | None) -> Guide | None:
    """A schema, or the word that asks for any JSON."""
    if given is None or given == "":
        return None
    if given == "json":
        return Guide("json_object")
    if isinstance(given, str):
        raise invalid("It is `json` or a JSON schema.", "format", "unsupported")
    return schema_guide(given, "format", inside=False)


def _message(
    given: Mapping[str, Any], where: str, media: list[Pending], unread: Unread
) -> ChatMessage:
    try:
        line = msgspec.convert(given, GivenLine)
    except msgspec.ValidationError as error:
        raise wrong_field(str(error), where) from None
    unread.check(given, GivenLine.__struct_fields__, where)
    if line.role not in ("system", "user", "assistant", "tool"):
        text = "The roles are system, user, assistant and tool."
        raise invalid(text, f"{where}.role", "invalid_role")
    content: list[Text | Slot] = [*_images(line.images, f"{where}.images", media)]
    if line.content or not content:
        content.append(Text(line.content or ""))
    names = {"name": line.tool_name, "tool_call_id": line.tool_call_id}
    extra: dict[str, Any] = {name: value for name, value in names.items() if value is not None}
    if line.thinking and line.role == "assistant":
        extra |= thinking_fields(line.thinking)
    if line.tool_calls:
        extra["tool_calls"] = [
            _call(call, f"{where}.tool_calls[{at}]", unread)
            for at, call in enumerate(line.tool_calls)
        ]
    return ChatMessage(line.role, tuple(content), extra)


def _images(given: Sequence[str] | None, where: str, media: list[Pending]) -> list[Slot]:
    slots = []
    for at, text in enumerate(given or ()):
        place = f"{where}[{at}]"
        media.append(Pending("image", read_base64(text, place), place))
        slots.append(Slot(len(media) - 1))
    return slots


def _call(call: Mapping[str, Any], where: str, unread: Unread) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid("A tool call needs a function with a name.", where, "invalid_tool_call")
    unread.check(call, CALL_KEYS, where)
    unread.check(function, ("name", "arguments", "index"), f"{where}.function")
    arguments = function.get("arguments") or {}
    if not isinstance(arguments, dict):
        raise invalid("Expected an object.", f"{where}.function.arguments", "invalid_tool_call")
    known = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    if isinstance(id := call.get("id"), str):
        known["id"] = id
    check_sendable(known, where)
    return known


def refuse_change() -> RequestError:
    """Of the models that there are."""
    text = (
        "The model is chosen where this server is started (thespis serve MODEL); it is neither "
        "fetched, made, copied nor removed through it."
    )
    return refuse("unsupported", text, code="unsupported")
