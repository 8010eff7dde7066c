"""Anthropic's messages as those of every chat: a turn's results of tools are messages of their own,
turns of one role that follow each other are one, and pictures stand where their blocks stand. Pure;
every refusal names the block."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ....protocol.errors import invalid
from ....protocol.requests.request import ChatMessage, Modality, Slot, Text, Url
from ...inputs.documents import OPTIONS, document_of
from ...inputs.media import Pending, Raw, filed, read_base64, read_url
from ...inputs.messages import thinking_fields
from ...inputs.parts import Rules, read_part
from ...inputs.unread import Unread
from ...validation import check_sendable, text_field, wrong_field

Content = Text | Slot
FAILED = "Error: "
"""Before the result of a tool that failed: templates have no other place for it."""
PLAIN = ("type", "cache_control")
"""What every block may have; whatever can be cached is, without being asked to."""
OTHER_PARTS = frozenset(
    {"image_url", "video_url", "audio_url", "input_audio", "image_embeds", "video_embeds",
     "audio_embeds", "file", "input_file", "document_url", "input_video"}
)  # fmt: skip
"""Parts of the chat API that Anthropic's has nothing for, and that are taken here, too."""
KNOWN = "text, image, document, search_result, tool_use, tool_result and thinking"


class GivenTurn(msgspec.Struct, kw_only=True):
    """One message as the caller sends it; its blocks are still plain JSON."""

    role: str
    content: str | list[Any]


class JoinedTurn(msgspec.Struct):
    """A message that is being put together."""

    role: str
    content: list[Content]
    extra: dict[str, Any] = {}

    def message(self) -> ChatMessage:
        return ChatMessage(self.role, tuple(self.content), self.extra)


def read_turns(
    given: Sequence[Mapping[str, Any]], system: str | list[Any] | None, embeds: bool, unread: Unread
) -> tuple[tuple[ChatMessage, ...], list[Pending]]:
    """The conversation, and its media in order. Raises RequestError that names the block."""
    if not given:
        raise invalid("There must be at least one message.", "messages", "empty_messages")
    reader = TurnReader(Rules(embeds), unread)
    if system:
        reader.add("system", reader.texts(system, "system"))
    for at, one in enumerate(given):
        reader.read(one, f"messages[{at}]")
    return tuple(turn.message() for turn in reader.turns), reader.media


class TurnReader:
    """Reads one conversation."""

    def __init__(self, rules: Rules, unread: Unread) -> None:
        self._rules, self._unread = rules, unread
        self.turns: list[JoinedTurn] = []
        self.media: list[Pending] = []
        self._tools: dict[str, str] = {}
        """The names of tools by the ids of their calls."""

    def add(self, role: str, content: list[Content], **extra: Any) -> None:
        """To the last turn, if it is the same side's."""
        last = self.turns[-1] if self.turns else None
        if last is not None and last.role == role and role != "tool":
            last.content += content
            for name, value in extra.items():
                last.extra[name] = last.extra[name] + value if name in last.extra else value
        elif content or extra or role != "user":
            self.turns.append(JoinedTurn(role, content, extra))

    def read(self, given: Mapping[str, Any], where: str) -> None:
        try:
            turn = msgspec.convert(given, GivenTurn)
        except msgspec.ValidationError as error:
            raise wrong_field(str(error), where) from None
        self._unread.check(given, GivenTurn.__struct_fields__, where)
        at = f"{where}.content"
        match turn.role:
            case "user":
                self._read_user(turn.content, at)
            case "assistant":
                self._read_assistant(turn.content, at)
            case "system":
                self.add("system", self.texts(turn.content, at))
            case _:
                text = "The roles are user and assistant; a system prompt is the field `system`."
                raise invalid(text, f"{where}.role", "invalid_role")

    def texts(self, given: Any, where: str) -> list[Content]:
        """Blocks of text alone, or a text."""
        return [self._text(block, at) for block, at in _blocks(given, where, ("text",))]

    def _text(self, block: Mapping[str, Any], where: str) -> Text:
        self._unread.check(block, (*PLAIN, "text"), where)
        return Text(text_field(block, "text", where))

    def _read_user(self, given: Any, where: str) -> None:
        content: list[Content] = []
        for block, at in _blocks(given, where):
            if block["type"] != "tool_result":
                content += self._content(block, at)
                continue
            self.add("user", content)
            content = []
            self._read_result(block, at)
        self.add("user", content)
        if not self.turns or self.turns[-1].role not in ("user", "tool"):
            raise invalid("It is empty.", where, "missing_field")

    def _read_result(self, block: Mapping[str, Any], where: str) -> None:
        self._unread.check(block, (*PLAIN, "tool_use_id", "content", "is_error"), where)
        id, failed = text_field(block, "tool_use_id", where), block.get("is_error")
        if not isinstance(failed, bool | None):
            raise invalid("Expected bool.", f"{where}.is_error", "wrong_type")
        content: list[Content] = [Text(FAILED)] if failed else []
        for inner, at in _blocks(block.get("content") or [], f"{where}.content"):
            content += self._content(inner, at)
        if failed and len(content) > 1 and isinstance(content[1], Text):
            content[:2] = [Text(FAILED + content[1].text)]
        named = {"name": self._tools[id]} if id in self._tools else {}
        self.add("tool", content, tool_call_id=id, **named)

    def _read_assistant(self, given: Any, where: str) -> None:
        content: list[Content] = []
        calls: list[dict[str, Any]] = []
        thoughts: list[str] = []
        for block, at in _blocks(given, where):
            match block["type"]:
                case "tool_use":
                    calls.append(self._call(block, at))
                case "thinking":
                    self._unread.check(block, (*PLAIN, "thinking", "signature"), at)
                    thoughts.append(text_field(block, "thinking", at))
                case "redacted_thinking":
                    self._unread.tell(at)
                case _:
                    content += self._content(block, at)
        extra: dict[str, Any] = {"tool_calls": calls} if calls else {}
        if thought := "\n".join(filter(None, thoughts)):
            extra |= thinking_fields(thought)
        self.add("assistant", content, **extra)

    def _call(self, block: Mapping[str, Any], where: str) -> dict[str, Any]:
        self._unread.check(block, (*PLAIN, "id", "name", "input", "caller"), where)
        id, name = text_field(block, "id", where), text_field(block, "name", where)
        given = block.get("input")
        if not isinstance(given, dict):
            raise invalid("Expected an object.", f"{where}.input", "invalid_tool_call")
        check_sendable(given, f"{where}.input")
        self._tools[id] = name
        return {"id": id, "type": "function", "function": {"name": name, "arguments": given}}

    def _content(self, block: Mapping[str, Any], where: str) -> list[Content]:
        """What stands in the place of a block that either side may have."""
        match block["type"]:
            case "text":
                return [self._text(block, where)]
            case "image":
                return [self._image(block, where)]
            case "document":
                return self._document(block, where)
            case "search_result":
                known = (*PLAIN, "title", "source", "content", "citations")
                self._unread.check(block, known, where)
                head = "\n".join(text_field(block, name, where) for name in ("title", "source"))
                return [Text(head), *self.texts(block.get("content"), f"{where}.content")]
            case kind if kind in OTHER_PARTS:
                part = {name: value for name, value in block.items() if name != "cache_control"}
                return [read_part(part, where, self.media, self._rules, self._unread)]
        raise invalid(f"Unknown type of block; known: {KNOWN}.", f"{where}.type", "unknown_part")

    def _image(self, block: Mapping[str, Any], where: str) -> Slot:
        self._unread.check(block, (*PLAIN, "source"), where)
        content = self._content_of(_source(block, where), where, "image")
        if content is None:
            text = "The types of a picture's source are base64, url and file."
            raise invalid(text, f"{where}.source.type", "unsupported")
        self.media.append(Pending("image", content, where))
        return Slot(len(self.media) - 1)

    def _document(self, block: Mapping[str, Any], where: str) -> list[Content]:
        """A text as it is, or a PDF's pages, under its title."""
        known = (*PLAIN, "source", "title", "context", "citations", *OPTIONS)
        self._unread.check(block, known, where)
        if block.get("citations"):
            self._unread.tell(f"{where}.citations")
        source, place = _source(block, where), f"{where}.source"
        heads = [text_field(block, name, where) for name in ("title", "context") if block.get(name)]
        before: list[Content] = [Text(head) for head in heads]
        match source.get("type"):
            case "text":
                self._unread.check(source, ("type", "media_type", "data"), place)
                return [*before, Text(text_field(source, "data", place))]
            case "content":
                self._unread.check(source, ("type", "content"), place)
                inner = _blocks(source.get("content"), f"{place}.content", ("text", "image"))
                return [*before, *(one for each, at in inner for one in self._content(each, at))]
        content = self._content_of(source, where, "document")
        if content is None:
            text = "The types of a document's source are base64, url, file, text and content."
            raise invalid(text, f"{place}.type", "unsupported")
        self.media.append(document_of(content, where, block))
        return [*before, Slot(len(self.media) - 1)]

    def _content_of(
        self, source: Mapping[str, Any], where: str, modality: Modality
    ) -> bytes | Url | None:
        """The bytes of the block at `where`, or where they are. None: its source is of a type that
        has none."""
        place = f"{where}.source"
        match source.get("type"):
            case "base64":
                self._unread.check(source, ("type", "media_type", "data"), place)
                return read_base64(text_field(source, "data", place), where)
            case "url":
                self._unread.check(source, ("type", "url"), place)
                content = read_url(text_field(source, "url", place), modality, where)
                assert not isinstance(content, Raw), "only clips come as lists of frames"
                return content
            case "file":
                self._unread.check(source, ("type", "file_id"), place)
                return filed(text_field(source, "file_id", place))
        return None


def _blocks(
    given: Any, where: str, kinds: tuple[str, ...] = ()
) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each with its place; `kinds`: those there may be."""
    if isinstance(given, str):
        yield {"type": "text", "text": given}, where
        return
    if not isinstance(given, list):
        raise invalid("Expected a text or a list of blocks.", where, "wrong_type")
    for at, block in enumerate(given):
        place = f"{where}[{at}]"
        if not isinstance(block, Mapping):
            raise invalid("A block must be an object with a `type`.", place, "wrong_type")
        kind = text_field(block, "type", place)
        if kinds and kind not in kinds:
            text = f"Here blocks may be of type {' and '.join(kinds)}."
            raise invalid(text, f"{place}.type", "unknown_part")
        yield block, place


def _source(block: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    source = block.get("source")
    if not isinstance(source, Mapping):
        raise invalid("Expected an object.", f"{where}.source", "wrong_type")
    return source
