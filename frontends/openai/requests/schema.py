"""The bodies that callers send: names and types of the OpenAI API and vLLM's additions to it.
Unknown fields are ignored with a warning, as clients expect. Refused are those whose names say that
they limit what an answer costs or contains (`MATTERS`), and those that would change the answer but
are not there (`NOT_YET`). Content parts stay plain JSON, which inputs/messages.py reads."""

import difflib
import re
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import msgspec

from ....protocol.errors import invalid, refuse
from ...inputs.unread import Unread
from ...validation import check_sendable, wrong_field

D = TypeVar("D")
R = TypeVar("R", bound="Body")

Priority = Annotated[int, msgspec.Meta(ge=-(1 << 31), lt=1 << 31)]
TokenId = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
Ids = list[TokenId]


class StreamOptions(msgspec.Struct, kw_only=True):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class Body(msgspec.Struct, kw_only=True):
    """What every body may contain."""

    built: ClassVar[frozenset[str]] = frozenset()
    """Names of NOT_YET that this kind of body takes all the same."""
    tagged: ClassVar[bool] = False
    """Whether a model's name may have Ollama's tag, `:latest`."""
    model: str | None = None


class Templated(Body, kw_only=True):
    """What is said of how a conversation is rendered."""

    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class Common(Body, kw_only=True):
    """What chat and plain completions share. None always means "not given"."""

    n: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    min_tokens: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: Ids | None = None
    include_stop_str_in_output: bool | None = None
    ignore_eos: bool | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[TokenId, float] | None = None
    allowed_token_ids: Ids | None = None
    prompt_logprobs: int | None = None
    skip_special_tokens: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    request_id: str | None = None
    return_timings: bool | None = None
    timeline: bool | None = None
    priority: Priority | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    media_io_kwargs: dict[str, dict[str, Any]] | None = None
    user: str | None = None
    bad_words: str | list[str] | None = None
    response_format: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None
    guided_json: Any = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    # Not supported yet, see NOT_YET.
    best_of: int | None = None
    logits_processors: Any = None
    truncate_prompt_tokens: int | None = None
    use_beam_search: bool | None = None


class ChatRequest(Common, kw_only=True):
    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: Any = None
    function_call: Any = None
    modalities: list[str] | None = None
    audio: Any = None
    echo: bool | None = None
    prompt_embeds: Any = None
    documents: Any = None
    include_reasoning: bool | None = None
    enable_thinking: bool | None = None
    reasoning_effort: str | None = None
    thinking_token_budget: int | None = None
    thinking_budget: int | None = None
    max_thinking_tokens: int | None = None


class CompletionRequest(Common, kw_only=True):
    prompt: str | list[str | int | Ids] | None = None
    prompt_embeds: str | list[str] | None = None
    logprobs: int | None = None
    echo: bool | None = None
    suffix: str | None = None


class Vectorized(Templated, kw_only=True):
    """What all bodies contain of which vectors are made."""

    built: ClassVar[frozenset[str]] = frozenset({"truncate_prompt_tokens"})
    user: str | None = None
    priority: Priority | None = None
    request_id: str | None = None
    truncate_prompt_tokens: int | None = None
    timeline: bool | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    media_io_kwargs: dict[str, dict[str, Any]] | None = None


class EmbeddingRequest(Vectorized, kw_only=True):
    """With `input`, or with `messages`, of which one vector is made."""

    input: str | list[str | int | Ids] | None = None
    messages: list[dict[str, Any]] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    use_activation: bool | None = None
    prompt_name: str | None = None
    add_special_tokens: bool | None = None
    # Not supported yet, see NOT_YET.
    embed_dtype: str | None = None
    endianness: str | None = None
    normalize: bool | None = None


class TokenizeRequest(Templated, kw_only=True):
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None


class DetokenizeRequest(Body, kw_only=True):
    tokens: Ids


NOT_YET: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "logits_processors": ([],),
    "truncate_prompt_tokens": (),
    "use_beam_search": (False,),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "suffix": ("",),
    "documents": ([],),
    "mcp_servers": ([],),
    "container": (),
    "template": ("",),
    "context": ([],),
    "embed_dtype": ("float32",),
    "endianness": ("little", "native"),
    "normalize": (),
    "rank_fields": (["text"],),
    "max_chunks_per_doc": (1,),
    "relevant_spans": (),
}
"""Fields that are refused, each with the values that change nothing and are accepted."""
INSTEAD = {"functions": "tools", "function_call": "tool_choice", "normalize": "use_activation"}
"""Former names of what is here by another."""

MATTERS = re.compile(
    r"(max|min|limit|stop|bad|banned|blocked|forbidden|allowed|guided|structured)_(?!decoding_backend$)\w+"
    r"|(\w+_)?(limits?|budgets?|timeout|deadline)"
    r"|moderation|guardrails?|grammar|regex|json_schema|structural_tag|cache_salt"
)
"""Unknown fields that are refused: a caller that limits length, time, cost or content with them
must learn that it would not happen. `max_new_tokens`, `max_tool_calls`, `cache_salt`."""

FREE_FORM = ("mm_processor_kwargs", "media_io_kwargs", "chat_template_kwargs")


HALF_AT_END = re.compile(rb'\\u[dD][89abAB][0-9a-fA-F]{2}[^\\]{0,4}"')
"""msgspec looks for the other half beyond the end, and finds that the body is cut off."""


def decode(schema: type[R], body: bytes | memoryview) -> R:
    """Raises RequestError 400 that names the field: `messages[0].content`."""
    request = _decoded(body, schema)
    for name, harmless in NOT_YET.items():
        value = getattr(request, name, None)
        if value is not None and value not in harmless and name not in request.built:
            meant = f"; give `{INSTEAD[name]}`" if name in INSTEAD else " yet"
            raise refuse("unsupported", f"`{name}` is not supported{meant}.", name, "unsupported")
    for name in FREE_FORM:
        check_sendable(getattr(request, name, None), name)
    return request


def _decoded(body: bytes | memoryview | msgspec.Raw, schema: type[D]) -> D:
    try:
        return msgspec.json.decode(body, type=schema)
    except msgspec.ValidationError as error:
        raise wrong_field(str(error)) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        place = _place(bytes(body), str(error))  # ValueError: bytes that are not UTF-8
        raise invalid(f"The body is not valid JSON{place}.", code="invalid_json") from None


def _place(body: bytes, text: str) -> str:
    """Where msgspec's error `text` says that the body is wrong."""
    if "truncated" in text and HALF_AT_END.search(body[-16:]):
        return ": it has one half of a surrogate pair, `\\ud800` to `\\udbff`, without the other"
    if "truncated" in text:
        return ": it ends in the middle of a value" if body.strip() else ": it is empty"
    found = re.search(r"\(byte (\d+)\)", text)
    if found is None:
        return ""
    before = body[: int(found[1])]
    line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
    return f" near line {line}, column {column} (byte {len(before)})"


def note_unknown(schema: type[msgspec.Struct], body: bytes | memoryview, unread: Unread) -> None:
    """Names that the schema does not know. Raises RequestError 400 for one of `MATTERS`."""
    given = _decoded(body, dict[str, msgspec.Raw])
    note_names(schema, {name: bytes(raw) != b"null" for name, raw in given.items()}, unread)
    if "stream_options" in given and bytes(given["stream_options"]) != b"null":
        unread.check(
            _decoded(given["stream_options"], dict[str, Any]),
            StreamOptions.__struct_fields__,
            "stream_options",
        )


def note_names(schema: type[msgspec.Struct], given: dict[str, bool], unread: Unread) -> None:
    """`given`: names, and whether they say anything. Raises RequestError as `note_unknown`."""
    for name, says in given.items():
        if name in schema.__struct_fields__:
            continue
        if len(name) <= 64 and MATTERS.fullmatch(name) and says:
            near = difflib.get_close_matches(name, schema.__struct_fields__, 1)
            text = (
                "This field is not known here, and to ignore it could cost more, or allow more, "
                f"than you mean{f'; did you mean {near[0]!r}?' if near else '.'}"
            )
            raise refuse("unsupported", text, name, "unknown_field")
        unread.tell(name)
