"""From a request's prompt to a text with one placeholder per item, or token ids: chat template,
tokenisation, checks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...protocol.errors import EngineError, Failure, RequestError, invalid, refuse
from ...protocol.facts import ModelFacts
from ...protocol.refusals import beyond_context, check_token_ids
from ...protocol.requests.request import (
    ChatMessage,
    ChatPrompt,
    EmbedsPrompt,
    MediaItem,
    Modality,
    Prompt,
    Slot,
    Text,
    TextPrompt,
    TokenPrompt,
)
from .splice import Splicer, too_many
from .template import (
    RENDERING_ERRORS,
    ChatTemplate,
    TemplateRefusal,
    TemplateTooSlow,
    compile_template,
    limited,
)
from .tokens import (
    ROLES,
    TextTokenizer,
    count_marked,
    mark,
    mark_role,
    mark_texts,
    spelled_tokens,
    unmark,
)

TEMPLATE_TOO_SLOW = Failure(
    "invalid_request", "The chat template takes too long to render this conversation."
)
TEMPLATE_TOO_LARGE = Failure(
    "invalid_request", "The chat template takes too much memory to render this conversation."
)
NO_TEMPLATE = "The chat template is no valid Jinja template."
_CONTINUE = "CONTINUE_FINAL_MESSAGE_TAG "


def _sayable(text: str) -> str:
    """Halves of surrogate pairs, which a template can write and neither a tokenizer nor a message
    takes, become `?`."""
    return text.encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class Rendered:
    """A prompt whose items are not yet known."""

    token_ids: list[int] | None
    """None: it is a text whose items go into it before it is tokenised."""
    text: str
    """As `marked` says; "" of token ids."""
    order: dict[Modality, list[int]]
    """Per modality the indices into `Request.media`, in the order of the placeholders."""
    marked: bool = False
    """Callers' words in `text` are marked."""
    framed: bool = True
    """It gets the tokenizer's own beginning and end."""

    @property
    def shown(self) -> str:
        """The text as the caller would read it."""
        return unmark(self.text) if self.marked else self.text


class PromptRenderer:
    """Renders, and tokenises what holds no items; pure but for the clock that a template may
    ask."""

    def __init__(
        self,
        model: ModelFacts,
        tokenizer: TextTokenizer,
        splicer: Splicer,
        template: str | None,
        most_tokens: int | None = None,
    ) -> None:
        """`template`: the Jinja source that chats are rendered by; None: the model has none. A text
        that is longer than `most_tokens` tokens can be, whatever they are, is not tokenised.
        """
        self._most_tokens = most_tokens
        self._tokenizer = tokenizer
        self._splicer = splicer
        self._placeholders = model.placeholders
        self._vocab = model.known
        rows = (one.embed_token_id for one in model.placeholders.values())
        self._row_id = next((row for row in rows if row not in model.span_token_ids), 0)
        """Stands for each row of a prompt of embeddings: of media where it can be, for no answer
        that means anything has it."""
        try:
            self._default = None if template is None else compile_template(template)
        except RENDERING_ERRORS as error:
            raise EngineError(NO_TEMPLATE) from error

    def render(self, prompt: Prompt, media: tuple[MediaItem, ...]) -> Rendered:
        """Raises RequestError naming what is wrong."""
        match prompt:
            case ChatPrompt():
                order: dict[Modality, list[int]] = {}
                for index in _slots(prompt, media):
                    order.setdefault(media[index].modality, []).append(index)
                text = self._chat(prompt, media)
                framed = self._framed(text) if prompt.framed is None else prompt.framed
                text = self._splicer.frame(text)
                return self._of_text(Rendered(None, text, order, True, framed), False)
            case TextPrompt(text, framed):
                text = self._splicer.frame(text) if framed else text
                return self._of_text(Rendered(None, text, _in_order(media), framed=framed), True)
            case TokenPrompt(token_ids):
                order = _in_order(media)
                self._check_counts(self._splicer.in_ids(token_ids, order), order, True)
                self.check_ids(token_ids, self._splicer.spoken_ids)
                return Rendered(list(token_ids), "", order)
            case EmbedsPrompt():
                return Rendered([self._row_id], "", _in_order(media))

    def tokens(self, rendered: Rendered) -> list[int]:
        """With one placeholder per item, unless the caller has expanded them himself."""
        if rendered.token_ids is not None:
            return rendered.token_ids
        encode = self._tokenizer.encode_marked if rendered.marked else self._tokenizer.encode
        return self._splicer.spoken(encode(rendered.text, rendered.framed))

    def check_ids(self, token_ids: Sequence[int], beside: frozenset[int] = frozenset()) -> None:
        """A tokenizer may have more tokens than its model. `beside`: what may lie outside, for it
        is looked up nowhere."""
        check_token_ids(token_ids, self._vocab, beside=beside)

    def _of_text(self, rendered: Rendered, expandable: bool) -> Rendered:
        found, order = self._splicer.in_text(rendered.text), rendered.order
        self._check_counts(found, order, expandable)
        if order and all(found[modality] == len(indices) for modality, indices in order.items()):
            return rendered
        token_ids = self.tokens(rendered)
        self.check_ids(token_ids, self._splicer.spoken_ids if order else frozenset())
        return replace(rendered, token_ids=token_ids)

    def _check_counts(
        self, found: Mapping[Modality, int], order: dict[Modality, list[int]], expandable: bool
    ) -> None:
        """`expandable`: a run of placeholders may stand for one item, in a caller's own token ids
        or text."""
        for modality, place in self._placeholders.items():
            wanted = len(order.get(modality, ()))
            if found[modality] < wanted:
                raise invalid(
                    f"Found {found[modality]} '{place.token}' placeholders in input prompt for "
                    f"{wanted} {modality} items."
                )
            if found[modality] > wanted and (wanted == 0 or not expandable):
                raise too_many(place.token)

    def _framed(self, text: str) -> bool:
        """As transformers does: a model's processor adds the tokenizer's own frame, unless the
        template has written its beginning; a tokenizer alone adds nothing to a conversation."""
        begin = self._tokenizer.special_texts.get("bos_token")
        return bool(self._placeholders) and not (begin is not None and text.startswith(begin))

    # chat

    def _chat(self, prompt: ChatPrompt, media: tuple[MediaItem, ...]) -> str:
        """With the callers' words marked."""
        template = self._template(prompt)
        try:
            text = template.render(**self._variables(prompt, media, template))
            self._check_text(text)
            lost = limited(lambda: _lost_message(prompt.messages, template, text))
        except RequestError:
            raise
        except TemplateRefusal as error:
            said = _sayable(unmark(str(error.message))[:300])
            raise invalid(f"The chat template refuses this conversation: {said}") from error
        except TemplateTooSlow as error:
            raise RequestError(TEMPLATE_TOO_SLOW) from error
        except MemoryError as error:
            raise RequestError(TEMPLATE_TOO_LARGE) from error
        except RENDERING_ERRORS as error:
            raise invalid("The chat template cannot render this conversation.") from error
        if lost is not None:
            role = prompt.messages[lost].role
            raise invalid(
                f"The chat template knows no role {role!r}; usual are {', '.join(ROLES)}.",
                f"messages[{lost}].role",
                "invalid_role",
            )
        return _cut_at_tag(text) if prompt.continue_final_message else text

    def _check_text(self, text: str) -> None:
        """What was rendered, before it is tokenised. Raises RequestError."""
        if _sayable(text) != text:
            said = "The chat template writes half of a surrogate pair, which is no character."
            raise invalid(said)
        if (most := self._most_tokens) is None:
            return
        if len(text) > (room := most * self._tokenizer.longest):
            raise beyond_context(
                f"The rendered prompt has {len(text)} characters where at most {room} fit", most
            )
        if (marked := count_marked(text)) > most:
            raise beyond_context(
                f"The rendered prompt spells {marked} control tokens as text", most
            )

    def _variables(
        self, prompt: ChatPrompt, media: tuple[MediaItem, ...], template: ChatTemplate
    ) -> dict[str, Any]:
        """What the template gets, the callers' words marked. Raises RecursionError for what nests
        too deep."""
        always = frozenset(spelled_tokens(self._placeholders.values()))
        control = self._tokenizer.control_tokens(template.literals, always)
        texts = [part.text for part in _parts(prompt) if isinstance(part, Text)]
        marked = iter(mark_texts(texts, control))
        messages = [
            {
                **mark(message.extra, control),
                "role": mark_role(message.role, control, template.words),
                "content": self._content(message, media, template, marked),
            }
            for message in prompt.messages
        ]
        if prompt.continue_final_message:
            _tag_last(messages)
        return {
            **self._tokenizer.special_texts,
            **mark(prompt.template_kwargs, control),
            "messages": messages,
            "tools": mark(list(prompt.tools), control) or None,
            "documents": None,
            "add_generation_prompt": prompt.add_generation_prompt,
        }

    def _template(self, prompt: ChatPrompt) -> ChatTemplate:
        if prompt.template is not None:
            try:
                return compile_template(prompt.template)
            except RENDERING_ERRORS as error:
                raise invalid(NO_TEMPLATE, "chat_template") from error
        if self._default is None:
            text = (
                "This model has no chat template: give one as a file, as literal Jinja, or by a "
                "built-in one's name."
            )
            raise refuse("unsupported", text, "chat_template", "no_chat_template")
        return self._default

    def _content(
        self,
        message: ChatMessage,
        media: tuple[MediaItem, ...],
        template: ChatTemplate,
        texts: Iterator[str],
    ) -> list[dict[str, Any]] | str:
        """As the template wants it: a list of parts, or lines. `texts`: the conversation's, marked,
        from this message on."""
        if template.format == "openai":
            return [
                {"type": "text", "text": next(texts)}
                if isinstance(part, Text)
                else {"type": media[part.index].modality}
                for part in message.content
            ]
        return "\n".join(
            next(texts)
            if isinstance(part, Text)
            else self._placeholders[media[part.index].modality].text
            for part in message.content
        )


def _lost_message(messages: Sequence[ChatMessage], template: ChatTemplate, text: str) -> int | None:
    """The first whose role is nobody's, and which the template neither asks for nor writes: it is
    lost, or taken for somebody else's. `text`: as rendered. None: there is none."""
    unusual: dict[str, int] = {}
    for index, message in enumerate(messages):
        if message.role not in ROLES and message.role not in template.words:
            unusual.setdefault(message.role, index)
    written = unmark(text).lower() if unusual else ""
    return next((index for role, index in unusual.items() if role.lower() not in written), None)


def _slots(prompt: ChatPrompt, media: tuple[MediaItem, ...]) -> list[int]:
    """The items in the order of their places. Every item must have exactly one."""
    if not prompt.messages:
        raise invalid("The conversation is empty.", "messages")
    if prompt.continue_final_message and prompt.add_generation_prompt:
        raise invalid("continue_final_message and add_generation_prompt exclude each other.")
    indices = [part.index for part in _parts(prompt) if isinstance(part, Slot)]
    if sorted(indices) != list(range(len(media))):
        raise invalid(f"The messages name {len(indices)} media items, but {len(media)} were given.")
    return indices


def _parts(prompt: ChatPrompt) -> Iterator[Text | Slot]:
    return (part for message in prompt.messages for part in message.content)


def _in_order(media: tuple[MediaItem, ...]) -> dict[Modality, list[int]]:
    order: dict[Modality, list[int]] = {}
    for index, item in enumerate(media):
        order.setdefault(item.modality, []).append(index)
    return order


def _tag_last(messages: list[dict[str, Any]]) -> None:
    """Put a tag behind the last text, so that the rendered prompt can be cut there."""
    content = messages[-1]["content"]
    if isinstance(content, str):
        messages[-1]["content"] = content + _CONTINUE
        return
    for part in reversed(content):
        if "text" in part:
            part["text"] += _CONTINUE
            return
    raise invalid("continue_final_message needs a final message with text.")


def _cut_at_tag(text: str) -> str:
    """Up to the tag; where the template trims messages, the spaces before it went with them."""
    before, tag, behind = text.rpartition(_CONTINUE.strip())
    if not tag:
        said = "The chat template does not show the final message, so it cannot be continued."
        raise invalid(said)
    return before if behind.startswith(" ") else before.rstrip()
