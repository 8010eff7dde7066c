"""What is refused before any work is done: counts, modalities, switches, options. Pure."""

import sys
from collections.abc import Mapping
from itertools import chain
from typing import Any

import msgspec

from ...protocol.config.engine import count_limit
from ...protocol.config.roles import PreprocessorConfig
from ...protocol.errors import invalid, refuse
from ...protocol.refusals import beyond_context, check_token_ids, embeds_disabled
from ...protocol.requests.request import (
    ChatPrompt,
    Embeds,
    EmbedsPrompt,
    Encoded,
    MediaItem,
    Modality,
    PackedEmbeds,
    Prompt,
    Request,
    Text,
    TextPrompt,
    Url,
)
from ...protocol.requests.sampling import SamplingParams
from .media_options import MediaOptions

ITEMS_PER_PROMPT = 999
MOST_BESIDE = 1 << 20
"""Characters of a conversation's tools and template variables: they are searched for control tokens
in one piece of work."""


class RequestValidator:
    """One engine's rules, its media options among them. Raises EngineError where the operator's own
    options break them."""

    def __init__(self, config: PreprocessorConfig, longest_token: int | None = None) -> None:
        self._config = config
        self.most_text = (
            sys.maxsize if longest_token is None else config.max_model_len * longest_token
        )
        """Characters; more cannot fit whatever they are, and need not be tokenised to know it."""
        self.options = MediaOptions(config)

    def check(self, request: Request) -> None:
        """Raises RequestError naming the part."""
        size, beside = _characters(request.prompt)
        if beside > MOST_BESIDE:
            raise invalid(
                f"`tools` and `chat_template_kwargs` have {beside} characters, at most "
                f"{MOST_BESIDE} are taken.",
                code="body_too_complex",
            )
        if size > self.most_text:
            text = f"The prompt has {size} characters where at most {self.most_text} fit"
            raise beyond_context(text, self._config.max_model_len)
        self._check_ids(request.sampling)
        if isinstance(request.prompt, EmbedsPrompt):
            self._check_embeds_prompt(request)
        else:
            self.check_items(request)
        self.options.check(request)

    def _check_ids(self, sampling: SamplingParams) -> None:
        """The sampler has a place for each token of the vocabulary and none beside."""
        named = {
            "stop_token_ids": sampling.stop_token_ids,
            "logit_bias": sampling.logit_bias or (),
            "allowed_token_ids": sampling.allowed_token_ids or (),
            "bad_words_ids": tuple(chain.from_iterable(sampling.bad_words_ids)),
        }
        for name, ids in named.items():
            check_token_ids(ids, self._config.model.vocab, name)

    def check_items(self, request: Request) -> None:
        """Of a document's pages, when they are known. Raises RequestError."""
        counts: dict[Modality, int] = {}
        for item in request.media:
            if item.modality == "document":
                _check_document(item)
                continue
            if (name := item.modality) not in self._config.model.placeholders:
                raise refuse("unsupported", f"This model takes no {name} input.", item.where)
            index = counts.get(name, 0)
            counts[name] = index + 1
            if index >= (limit := self._limit(item)):
                raise invalid(
                    f"At most {limit} {name}(s) may be provided in one prompt. Raise it with "
                    "--limit-mm-per-prompt.",
                    item.where,
                )
            if isinstance(item.source, Url):
                raise refuse("internal", "The item has not been fetched.", item.where)
            if isinstance(item.source, Embeds | PackedEmbeds) and not self._config.enable_embeds:
                raise embeds_disabled(f"{name}_embeds", item.where)
            if item.source is None and item.uuid is None:
                raise invalid(
                    f"multi_modal_data['{name}'][{index}] is empty but "
                    f"multi_modal_uuids['{name}'][{index}] is missing.",
                    item.where,
                )

    def _check_embeds_prompt(self, request: Request) -> None:
        if not self._config.enable_prompt_embeds:
            raise embeds_disabled("prompt_embeds", "prompt_embeds")
        if self._config.model.per_layer_width:
            text = (
                "This model's layers look at the tokens of a prompt themselves: it takes no "
                "prompt_embeds. Send text."
            )
            raise refuse("unsupported", text, "prompt_embeds", "unsupported")
        if request.sampling.prompt_logprobs is not None:
            text = (
                "A prompt of embeddings has no tokens that could be scored; leave out "
                "prompt_logprobs or prompt_embeds."
            )
            raise refuse("unsupported", text, "prompt_logprobs", "unsupported")
        kinds = [(item.modality, type(item.source)) for item in request.media]
        if kinds not in ([("prompt", Embeds)], [("prompt", PackedEmbeds)]):
            text = "A prompt of embeddings came with other items, or without its rows."
            raise refuse("internal", text, "prompt_embeds")

    def _limit(self, item: MediaItem) -> int:
        """None of a modality means none to be encoded: embeddings, where they are enabled, need no
        tower."""
        limit = count_limit(self._config.limits_per_prompt, item.modality)
        ready = self._config.enable_embeds and isinstance(item.source, Embeds | PackedEmbeds | None)
        return ITEMS_PER_PROMPT if limit is None or (limit == 0 and ready) else limit


def _check_document(item: MediaItem) -> None:
    if item.source is None:
        text = "What is in a document is not kept: send its data, its URL or its file_id."
        raise invalid(text, item.where, "missing_field")
    if not isinstance(item.source, Encoded):
        raise refuse("internal", "The document has not been fetched.", item.where)


def _characters(prompt: Prompt) -> tuple[int, int]:
    """What is to be read, and what a template is given beside it, and may write or not."""
    match prompt:
        case TextPrompt(text):
            return len(text), 0
        case ChatPrompt(messages):
            parts = [part for message in messages for part in message.content]
            said = [part.text for part in parts if isinstance(part, Text)]
            beside = [prompt.tools, prompt.template_kwargs]
            return _length([said, [message.extra for message in messages]]), _length(beside)
        case _:
            return 0, 0


def _length(value: Any) -> int:
    """Characters of all texts within, names of fields included."""
    found, waiting = 0, [value]
    while waiting:
        match waiting.pop():
            case str(text):
                found += len(text)
            case Mapping() as inner:
                waiting += [*inner.keys(), *inner.values()]
            case list() | tuple() as inner:
                waiting += inner
    return found


def without_ids(request: Request) -> Request:
    """Where nothing is kept, ids name nothing."""
    media = tuple(msgspec.structs.replace(item, uuid=None) for item in request.media)
    return msgspec.structs.replace(request, media=media)
