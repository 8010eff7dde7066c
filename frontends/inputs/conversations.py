"""Conversations in the OpenAI form as plain dicts, read by the same code as the server's. Besides
the API's parts Python callers may give objects: `image_pil`; `image`, `video` and `audio` with what
`multi_modal_data` takes; and embeddings as arrays or tensors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import msgspec

from ...protocol.chat_templates.source import operator_template
from ...protocol.errors import EngineError, invalid
from ...protocol.requests.request import ChatMessage, ChatPrompt, TextPrompt
from .media import Pending
from .messages import read_messages
from .parts import Rules
from .prompt_types import PROMPT_KEYS
from .prompts import PromptInput, read_options, read_prompt
from .python_media import read_raw
from .scoring import read_document
from .submission import Submission
from .unread import Unread

if TYPE_CHECKING:
    from typing_extensions import TypeIs

Conversation = Sequence[Mapping[str, Any]]
"""Messages."""
VectorInput = PromptInput | Conversation
ScoreInput = str | Mapping[str, Any]
"""What may be compared: a text, a dict of `generate`, or an object with a text or media."""


class ChatOptions(TypedDict, total=False):
    """How conversations are rendered and their media read."""

    chat_template: str | Path | None
    add_generation_prompt: bool | None
    continue_final_message: bool
    tools: Sequence[Mapping[str, Any]] | None
    chat_template_kwargs: Mapping[str, Any] | None
    mm_processor_kwargs: Mapping[str, Any] | None
    media_io_kwargs: Mapping[str, Any] | None
    add_special_tokens: bool | None


CHAT_OPTIONS = tuple(ChatOptions.__annotations__)
OPTIONS = tuple(name for name in CHAT_OPTIONS if name != "tools")
"""Of `embed` and `encode`, by name."""
_RULES = Rules(embeds=True, raw=read_raw)
"""The engine decides whether embeddings are enabled: this process does not know its options."""


def is_conversation(given: object) -> "TypeIs[Conversation]":
    """One conversation, rather than a list of several, or a prompt."""
    return (
        isinstance(given, Sequence)
        and not isinstance(given, str)
        and bool(given)
        and isinstance(given[0], Mapping)
    )


def is_messages(given: object) -> "TypeIs[Conversation]":
    """One conversation, where prompts that are dicts may be meant too."""
    return is_conversation(given) and "role" in given[0]


def read_any(prompt: VectorInput, options: dict[str, Any]) -> Submission:
    """One prompt of `generate`, or a conversation with the options of `LLM.chat`."""
    if is_conversation(prompt):
        return read_chat(prompt, **options)
    processor = options.pop("mm_processor_kwargs", None)
    if options:
        raise TypeError(f"{next(iter(options))!r} is an option of conversations; this is a prompt.")
    return read_prompt(prompt, processor)


def read_for_vectors(given: VectorInput, options: Mapping[str, Any]) -> Submission:
    """One prompt or conversation of which vectors are wanted. `options` of conversations say
    nothing of other prompts. Raises RequestError; TypeError for an unknown option."""
    check_options(options)
    if is_messages(given):
        generation = (
            {"add_generation_prompt": False} if options.get("add_generation_prompt") is None else {}
        )
        return read_chat(given, **{**options, **generation})
    read = read_prompt(given, options.get("mm_processor_kwargs"))
    framed = options.get("add_special_tokens")
    if framed is None or not isinstance(read.prompt, TextPrompt):
        return read
    return msgspec.structs.replace(read, prompt=TextPrompt(read.prompt.text, bool(framed)))


def check_options(options: Mapping[str, Any], known: Sequence[str] = OPTIONS) -> None:
    """Raises TypeError for an unknown one."""
    if unknown := [name for name in options if name not in known]:
        raise TypeError(f"There is no option {unknown[0]!r}; the options are: {', '.join(known)}.")


def read_chat(conversation: Conversation, **options: Unpack[ChatOptions]) -> Submission:
    """One conversation. Raises RequestError that names the part; TypeError for an unknown
    option."""
    check_options(options, CHAT_OPTIONS)
    try:
        messages = [dict(message) for message in conversation]
    except (TypeError, ValueError):
        raise invalid(
            "A conversation is a list of dicts with 'role' and 'content'.", "messages"
        ) from None
    chat, media = read_messages(messages, _RULES, Unread(strict=True))
    return _submission(chat, media, **options)


def read_for_score(given: ScoreInput, where: str, options: Mapping[str, Any]) -> Submission:
    """One input that is compared with others: a prompt of `generate`, or an object as
    `read_document` takes it, of which a conversation is made. Options and errors are those of
    `read_for_vectors`."""
    if not isinstance(given, Mapping) or not PROMPT_KEYS.isdisjoint(given):
        return read_for_vectors(given, options)
    media: list[Pending] = []
    read = read_document(given, where, media, _RULES, Unread(strict=True))
    if isinstance(read, str):
        return read_for_vectors(read, options)
    check_options(options)
    generation = bool(options.get("add_generation_prompt"))
    return _submission((read,), media, **{**options, "add_generation_prompt": generation})


def _submission(
    chat: tuple[ChatMessage, ...],
    media: Sequence[Pending],
    *,
    chat_template: str | Path | None = None,
    add_generation_prompt: bool | None = None,
    continue_final_message: bool = False,
    tools: Sequence[Mapping[str, Any]] | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    mm_processor_kwargs: Mapping[str, Any] | None = None,
    media_io_kwargs: Mapping[str, Any] | None = None,
    add_special_tokens: bool | None = None,
) -> Submission:
    """Messages that have been read. Raises RequestError for an option that is wrong."""
    try:
        template = None if chat_template is None else operator_template(str(chat_template))
    except EngineError as error:
        raise invalid(str(error), "chat_template") from None
    if add_generation_prompt is None:
        add_generation_prompt = not continue_final_message
    prompt = ChatPrompt(
        chat,
        add_generation_prompt=add_generation_prompt,
        continue_final_message=continue_final_message,
        tools=tuple(read_options(tool, f"tools[{at}]") for at, tool in enumerate(tools or ())),
        template=template,
        template_kwargs=read_options(chat_template_kwargs, "chat_template_kwargs"),
        framed=add_special_tokens,
    )
    processor = read_options(mm_processor_kwargs, "mm_processor_kwargs")
    return Submission(
        prompt, tuple(media), processor, read_options(media_io_kwargs, "media_io_kwargs")
    )
