"""The items of a response's input as the messages that every chat has. Pure; every refusal names
the item."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from ....protocol.errors import invalid, refuse
from ....protocol.requests.request import ChatMessage, ChatPrompt, Slot, Text
from ...inputs.media import Pending
from ...inputs.messages import read_arguments, thinking_fields
from ...inputs.parts import Rules, read_part
from ...inputs.submission import Submission
from ...inputs.unread import Unread
from ...validation import check_sendable, text_field

REFERENCE = "item_reference"
"""The role of a message that stands for an item which is stored, until it is looked up."""
ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
"""What templates know them by."""
OWN = ("type", "id", "status")
"""What every item has that comes from an answer of ours; nothing depends on it."""
KNOWN = ("message", "function_call", "function_call_output", "reasoning", REFERENCE)
PART_SAYS_NOTHING = frozenset({"annotations", "logprobs", "prompt_cache_breakpoint"})
"""Of a part: what an answer tells beside its text, and where a prompt is to be cached, which it is
without being asked."""


class ItemReader:
    """Reads items one by one; an item is a message of its own, until they are `joined`."""

    def __init__(self, rules: Rules, unread: Unread) -> None:
        self._rules, self._unread = rules, unread
        self.messages: list[ChatMessage] = []
        self.media: list[Pending] = []

    def read(self, given: str | Sequence[Any] | None, where: str) -> None:
        """A text, or a list of items."""
        if isinstance(given, str):
            self.say("user", (Text(given),))
            return
        for index, item in enumerate(given or ()):
            self._read_item(item, f"{where}[{index}]")

    def say(self, role: str, content: tuple[Text | Slot, ...], **extra: Any) -> None:
        self.messages.append(ChatMessage(role, content, extra))

    def _read_item(self, item: Any, where: str) -> None:
        if not isinstance(item, Mapping):
            raise invalid("An item is an object with a `type`.", where, "wrong_type")
        kind = item.get("type")
        if kind is None:
            kind = "message" if "role" in item or "id" not in item else REFERENCE
        match kind:
            case "message":
                self._read_message(item, where)
            case "function_call":
                self._read_call(item, where)
            case "function_call_output":
                self._read_output(item, where)
            case "reasoning":
                self._read_reasoning(item, where)
            case "item_reference":
                self._unread.check(item, OWN, where)
                self.say(REFERENCE, (), id=text_field(item, "id", where))
            case _:
                text = f"Items of this type are not taken here; known: {', '.join(KNOWN)}."
                raise refuse("unsupported", text, f"{where}.type", "unsupported")

    def _read_message(self, item: Mapping[str, Any], where: str) -> None:
        self._unread.check(item, (*OWN, "role", "content", "phase"), where)
        role = text_field(item, "role", where)
        if role not in ROLES:
            raise invalid(f"The roles are {', '.join(ROLES)}.", f"{where}.role", "invalid_role")
        self.say(ROLES[role], self._content(item.get("content"), f"{where}.content"))

    def _content(self, given: Any, where: str) -> tuple[Text | Slot, ...]:
        match given:
            case str(text):
                return (Text(text),)
            case list(parts):
                return tuple(self._part(part, f"{where}[{n}]") for n, part in enumerate(parts))
            case None:
                raise invalid("This field is required.", where, "missing_field")
        raise invalid("Expected str or array.", where, "wrong_type")

    def _part(self, part: Any, where: str) -> Text | Slot:
        if isinstance(part, Mapping) and not part.keys().isdisjoint(PART_SAYS_NOTHING):
            part = {key: value for key, value in part.items() if key not in PART_SAYS_NOTHING}
        return read_part(part, where, self.media, self._rules, self._unread)

    def _read_call(self, item: Mapping[str, Any], where: str) -> None:
        self._unread.check(item, (*OWN, "call_id", "name", "arguments"), where)
        id, name = text_field(item, "call_id", where), text_field(item, "name", where)
        arguments = read_arguments(text_field(item, "arguments", where), f"{where}.arguments")
        check_sendable(arguments, f"{where}.arguments")
        call = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
        self.say("assistant", (), tool_calls=[call])

    def _read_output(self, item: Mapping[str, Any], where: str) -> None:
        self._unread.check(item, (*OWN, "call_id", "output", "name"), where)
        id = text_field(item, "call_id", where)
        content = self._content(item.get("output"), f"{where}.output")
        self.say("tool", content, tool_call_id=id)

    def _read_reasoning(self, item: Mapping[str, Any], where: str) -> None:
        """Its text, else its summary. What only its maker can read is nothing here."""
        self._unread.check(item, (*OWN, "content", "summary"), where)
        thought = ""
        for field in ("content", "summary"):
            parts = item.get(field) or []
            if not isinstance(parts, list):
                raise invalid("Expected array.", f"{where}.{field}", "wrong_type")
            texts = (_thought(part, f"{where}.{field}[{n}]") for n, part in enumerate(parts))
            thought = thought or "\n\n".join(texts)
        if thought:
            self.say("assistant", (), **thinking_fields(thought))


def joined(messages: Iterable[ChatMessage]) -> tuple[ChatMessage, ...]:
    """Items of one turn of the assistant are one message: its thinking, its words and its calls.
    System messages at the beginning are one as well, since templates have one place for them. What
    a function has returned is told with its name."""
    turns: list[list[ChatMessage]] = []
    said = False
    """Whether the last turn has more than thoughts."""
    functions: dict[str, str] = {}
    """Names by the ids of their calls."""
    for message in messages:
        for call in message.extra.get("tool_calls", ()):
            functions[call["id"]] = call["function"]["name"]
        if (name := functions.get(message.extra.get("tool_call_id", ""))) is not None:
            message = ChatMessage(message.role, message.content, {**message.extra, "name": name})
        if turns and _goes_on(turns, said, message):
            turns[-1].append(message)
        else:
            turns.append([message])
            said = False
        said = said or bool(message.content) or "tool_calls" in message.extra
    return tuple(message for message in map(_one, turns) if not _only_thinks(message))


def _goes_on(turns: list[list[ChatMessage]], said: bool, message: ChatMessage) -> bool:
    """Whether it belongs to the last of the turns."""
    if message.role != turns[-1][0].role:
        return False
    if message.role == "assistant":
        return "reasoning" not in message.extra and not (message.content and said)
    return message.role == "system" and len(turns) == 1


def _one(turn: list[ChatMessage]) -> ChatMessage:
    """A caller may send thousands of items in one turn: each is looked at once."""
    first = turn[0]
    if len(turn) == 1:
        return first
    content: list[Text | Slot] = []
    if first.role == "system":
        for message in turn:
            content += (Text("\n\n"),) if content and message.content else ()
            content += message.content
        return ChatMessage("system", tuple(content), first.extra)
    extra: dict[str, Any] = {}
    for message in turn:
        content += message.content
        extra.update(message.extra)
    if "tool_calls" in extra:
        lists = (message.extra.get("tool_calls", ()) for message in turn)
        extra["tool_calls"] = list(chain.from_iterable(lists))
    return ChatMessage("assistant", tuple(content), extra)


def placed(given: Submission, at: int) -> tuple[ChatMessage, ...]:
    """Its messages where `at` media stand before its own."""
    assert isinstance(given.prompt, ChatPrompt)
    return tuple(
        ChatMessage(
            message.role,
            tuple(
                Slot(one.index + at) if isinstance(one, Slot) else one for one in message.content
            ),
            message.extra,
        )
        for message in given.prompt.messages
    )


def _only_thinks(message: ChatMessage) -> bool:
    """Nothing has followed: templates have no turn for it."""
    said = message.content or "tool_calls" in message.extra
    return message.role == "assistant" and "reasoning" in message.extra and not said


def _thought(part: Any, where: str) -> str:
    if not isinstance(part, Mapping):
        raise invalid("Expected an object.", where, "wrong_type")
    return text_field(part, "text", where)
