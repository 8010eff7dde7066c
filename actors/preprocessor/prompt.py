"""From a request's prompt to token ids with one placeholder token per item: chat template, tokenisation, checks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...protocol.errors import EngineError, Failure, RequestError, refuse
from ...protocol.request import (
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
from .checkpoint import Checkpoint
from .families.base import Placeholder, too_many
from .template import ChatTemplate, TemplateRefusal, TemplateTooSlow, compile_template, is_template_error
from .tokens import TextTokenizer, count_marked, mark, mark_role, mark_texts, unmark

TEMPLATE_TOO_SLOW = Failure("invalid_request", "The chat template takes too long to render this conversation.")
TEMPLATE_TOO_LARGE = Failure("invalid_request", "The chat template takes too much memory to render this conversation.")
_CONTINUE = "CONTINUE_FINAL_MESSAGE_TAG "


def _sayable(text: str) -> str:
    """Halves of surrogate pairs, which a template can write and neither a tokenizer nor a message takes, become `?`."""
    return text.encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class Rendered:
    """A prompt whose items are not yet known."""

    token_ids: list[int]
    text: str
    order: dict[Modality, list[int]]
    """Per modality the indices into `Request.media`, in the order of the placeholders."""
    expandable: bool
    """Whether a run of placeholders may stand for one item: a caller's own token ids or text."""


class PromptRenderer:
    """Renders and tokenises; pure but for the clock that a template may ask."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        tokenizer: TextTokenizer,
        placeholders: dict[Modality, Placeholder],
        template: str | None,
        most_tokens: int | None = None,
    ) -> None:
        """`template`: the Jinja source that chats are rendered by; None: the model has none. A text that is longer than
        `most_tokens` tokens can be, whatever they are, is not tokenised.
        """
        self._most_tokens = most_tokens
        self._tokenizer = tokenizer
        self._placeholders = placeholders
        self._vocab = checkpoint.info.vocab
        self._default: ChatTemplate | None = None
        if template is not None:
            try:
                self._default = compile_template(template)
            except Exception as error:
                if not is_template_error(error):
                    raise
                raise EngineError("The chat template is no valid Jinja template.") from error

    def render(self, prompt: Prompt, media: tuple[MediaItem, ...]) -> Rendered:
        """Raises RequestError naming what is wrong."""
        order: dict[Modality, list[int]] = {}
        match prompt:
            case ChatPrompt():
                for index in _slots(prompt, media):
                    order.setdefault(media[index].modality, []).append(index)
                text, ids = self._chat(prompt, media)
                rendered = Rendered(ids, text, order, False)
            case TextPrompt(text):
                rendered = Rendered(self._tokenizer.encode(text, True), text, _in_order(media), True)
            case TokenPrompt(token_ids):
                rendered = Rendered(list(token_ids), "", _in_order(media), True)
            case EmbedsPrompt():  # a placeholder of media marks each row: no answer that means anything has that token
                place = next(iter(self._placeholders.values()))
                return Rendered([place.token_id], "", _in_order(media), False)
        self._check_ids(rendered.token_ids)
        self._check_counts(rendered)
        return rendered

    def _check_ids(self, token_ids: list[int]) -> None:
        """A tokenizer may have more tokens than its model."""
        if token_ids and (min(token_ids) < 0 or max(token_ids) >= self._vocab):
            strange = next(token for token in token_ids if not 0 <= token < self._vocab)
            raise refuse("invalid_request", f"Token id {strange} is not in the vocabulary of {self._vocab} tokens.")

    def _check_counts(self, rendered: Rendered) -> None:
        for modality, placeholder in self._placeholders.items():
            found = rendered.token_ids.count(placeholder.token_id)
            wanted = len(rendered.order.get(modality, ()))
            if found < wanted:
                raise refuse(
                    "invalid_request",
                    f"Found {found} '{placeholder.token}' placeholders in input prompt for {wanted} {modality} items.",
                )
            if found > wanted and (wanted == 0 or not rendered.expandable):
                raise too_many(placeholder)

    # chat

    def _chat(self, prompt: ChatPrompt, media: tuple[MediaItem, ...]) -> tuple[str, list[int]]:
        template = self._template(prompt)
        try:
            text = template.render(**self._variables(prompt, media, template))
        except RequestError:
            raise
        except TemplateRefusal as error:
            raise refuse(
                "invalid_request", f"The chat template refuses this conversation: {_sayable(unmark(str(error.message))[:300])}"
            ) from error
        except TemplateTooSlow as error:
            raise RequestError(TEMPLATE_TOO_SLOW) from error
        except MemoryError as error:
            raise RequestError(TEMPLATE_TOO_LARGE) from error
        except Exception as error:
            if not is_template_error(error):
                raise
            raise refuse("invalid_request", "The chat template cannot render this conversation.") from error
        self._check_text(text)
        if prompt.continue_final_message:
            text = _cut_at_tag(text)
        # As transformers' processors do: the tokenizer's own frame, unless the template has written its beginning.
        begin = self._tokenizer.special_texts.get("bos_token")
        framed = not (begin is not None and text.startswith(begin))
        return unmark(text), self._tokenizer.encode_marked(text, framed)

    def _check_text(self, text: str) -> None:
        """What was rendered, before it is tokenised. Raises RequestError."""
        if _sayable(text) != text:
            raise refuse("invalid_request", "The chat template writes half of a surrogate pair, which is no character.")
        if self._most_tokens is None:
            return
        if len(text) > self._most_tokens * self._tokenizer.longest:
            words = f"The rendered prompt has {len(text)} characters, far beyond the model's context."
            raise refuse("invalid_request", words, code="context_length_exceeded")
        if (marked := count_marked(text)) > self._most_tokens:
            words = f"The rendered prompt spells {marked} control tokens as text, far beyond the model's context."
            raise refuse("invalid_request", words, code="context_length_exceeded")

    def _variables(self, prompt: ChatPrompt, media: tuple[MediaItem, ...], template: ChatTemplate) -> dict[str, Any]:
        """What the template gets, the callers' words marked. Raises RecursionError for what nests too deep."""
        always = frozenset(placeholder.token for placeholder in self._placeholders.values())
        control = self._tokenizer.control_tokens(template.literals, always)
        texts = [part.text for message in prompt.messages for part in message.content if isinstance(part, Text)]
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
            except Exception as error:
                if not is_template_error(error):
                    raise
                raise refuse("invalid_request", "The chat template is no valid Jinja template.", "chat_template") from error
        if self._default is None:
            raise refuse(
                "unsupported",
                "This model has no chat template: give one as a file, as literal Jinja, or by a built-in one's name.",
                "chat_template",
                "no_chat_template",
            )
        return self._default

    def _content(
        self, message: ChatMessage, media: tuple[MediaItem, ...], template: ChatTemplate, texts: Iterator[str]
    ) -> list[dict[str, Any]] | str:
        """As the template wants it: a list of parts, or lines. `texts`: the conversation's, marked, from this message on."""
        if template.format == "openai":
            return [
                {"type": "text", "text": next(texts)} if isinstance(part, Text) else {"type": media[part.index].modality}
                for part in message.content
            ]
        return "\n".join(
            next(texts) if isinstance(part, Text) else self._placeholders[media[part.index].modality].text
            for part in message.content
        )


def _slots(prompt: ChatPrompt, media: tuple[MediaItem, ...]) -> list[int]:
    """The items in the order of their places. Every item must have exactly one."""
    if not prompt.messages:
        raise refuse("invalid_request", "The conversation is empty.", "messages")
    if prompt.continue_final_message and prompt.add_generation_prompt:
        raise refuse("invalid_request", "continue_final_message and add_generation_prompt exclude each other.")
    indices = [part.index for message in prompt.messages for part in message.content if isinstance(part, Slot)]
    if sorted(indices) != list(range(len(media))):
        raise refuse("invalid_request", f"The messages name {len(indices)} media items, but {len(media)} were given.")
    return indices


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
    raise refuse("invalid_request", "continue_final_message needs a final message with text.")


def _cut_at_tag(text: str) -> str:
    """Up to the tag; where the template trims messages, the spaces before it went with them."""
    tag = text.rfind(_CONTINUE.strip())
    if tag < 0:
        raise refuse("invalid_request", "The chat template does not show the final message, so it cannot be continued.")
    return text[:tag] if text[tag : tag + len(_CONTINUE)] == _CONTINUE else text[:tag].rstrip()
