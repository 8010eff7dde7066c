"""From a body's bytes to what a call asks for, the same in the server and in a reader. Pure."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec

from ....protocol.checkpoint.tokenizer_file import tokenizer_text
from ....protocol.errors import invalid, refuse
from ....protocol.refusals import beyond_context, check_token_ids
from ....protocol.requests.request import (
    ChatPrompt,
    EmbedsPrompt,
    Prompt,
    Text,
    TextPrompt,
    TokenPrompt,
    Url,
)
from ...inputs.media import Pending
from ...inputs.scoring import naming
from ...inputs.submission import Submission
from ...inputs.unread import Unread
from ..requests.anthropic import CountRequest, MessagesRequest, parse_count, parse_messages
from ..requests.batches import BatchRequest, parse_batch
from ..requests.chat import parse_chat, parse_tokenize
from ..requests.common import ChatTerms, Embedding, Generation
from ..requests.completions import parse_completion
from ..requests.embeddings import parse_embedding
from ..requests.ollama import (
    OllamaChat,
    OllamaEmbed,
    OllamaEmbeddings,
    OllamaGenerate,
    OllamaShow,
    parse_ollama_chat,
    parse_ollama_embed,
    parse_ollama_generate,
)
from ..requests.responses import (
    ResponseCall,
    ResponseRequest,
    StoredItems,
    parse_response,
    parse_stored,
)
from ..requests.schema import (
    Body,
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    EmbeddingRequest,
    TokenizeRequest,
    decode,
    note_unknown,
)
from ..requests.scoring import ComparedInput, RerankRequest, ScoreRequest, parse_rerank, parse_score
from .scan import Scan, Structure

if TYPE_CHECKING:
    from tokenizers import Tokenizer

B = TypeVar("B", bound=Body)
P = TypeVar("P")

MAX_TEXT = 8 << 20
"""Bytes of a prompt's text, two million usual tokens; half as many where it is not all ASCII, since
of such the server's loop takes twenty times as long to pass it on."""
MAX_PIECES = 16_384
"""Messages of a conversation and parts of their contents."""
MAX_FREE = 50_000
"""Values of free form in a request: in tools, in calls of them, and in options."""
MAX_BIASES = 1 << 15
MAX_URL = 1 << 16
"""Characters of a URL that is to be fetched."""
TAG = ":latest"
MAX_DETOKENIZED = 1 << 20
LONGEST_NAME = 80
"""Characters of a model's name that are said back to whoever asked for it."""
OWN_ID_HEADER = "X-Request-Id"
OWN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+=~-]{0,127}")
SMALL_BYTES = 1 << 20
SMALL = Structure(depth=128, containers=4096, keys=16_384, strings=16_384, values=32_768)
"""A body within this is read in less than 20 ms."""


class Terms(msgspec.Struct, frozen=True):
    """What one server accepts."""

    model: str
    """The served name."""
    context: int
    """Tokens."""
    vocabulary: int
    folder: str
    """Of the model."""
    tokenizer_parts: str
    """As `ModelFacts` has them."""
    chat: ChatTerms = ChatTerms()
    prompt_embeds: bool = False
    templates: bool = False
    """Whether a request may bring a chat template: it is a program."""


class Kind(NamedTuple, Generic[B, P]):
    """One path that takes a body."""

    name: str
    schema: type[B]
    parse: Callable[[B, Terms, Unread], list[P]]
    """Raises RequestError. Each piece of the result can be handed over by itself."""
    piece: Any
    """Their type."""


class Call(NamedTuple, Generic[B, P]):
    """One body, read."""

    body: B
    pieces: list[P]
    ignored: list[str]
    """Names of fields that have no effect."""
    draft: str | None = None
    """Where its media are, until they are submitted."""


def is_small(scan: Scan) -> bool:
    """Whether the body can be read where others wait for it."""
    return scan.size <= SMALL_BYTES and scan.found.within(SMALL)


def read(kind: Kind[B, P], raw: "bytes | memoryview", terms: Terms) -> Call[B, P]:
    """Raises RequestError that names what is wrong and where."""
    body = decode(kind.schema, raw)
    check_model(untagged(body.model, terms) if kind.schema.tagged else body.model, terms)
    # Here: a reader hands back no text of this length.
    check_id("request_id", getattr(body, "request_id", None))
    if getattr(body, "chat_template", None) is not None and not terms.templates:
        text = (
            "A chat template in the request is refused; start with --trust-request-chat-template."
        )
        raise refuse("unsupported", text, "chat_template", "unsupported")
    unread = Unread()
    note_unknown(kind.schema, raw, unread)
    pieces = kind.parse(body, terms, unread)
    return Call(body, pieces, unread.told)


def check_model(name: str | None, terms: Terms) -> None:
    """None stands for the one that is served. Raises RequestError 404 for another."""
    if name is not None and name != terms.model:
        asked = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
        text = f"There is no model {asked!r} here. The served model is `{terms.model}`."
        raise refuse("not_found", text, "model", "model_not_found")


def untagged(name: str | None, terms: Terms) -> str | None:
    """The served name for itself with a tag too many or too few, as Ollama's clients write it."""
    same = name is not None and name.removesuffix(TAG) == terms.model.removesuffix(TAG)
    return terms.model if same else name


def check_id(where: str, id: str | None) -> None:
    """A caller's own name for a request. Raises RequestError 400."""
    if id is not None and not OWN_ID.fullmatch(id):
        text = (
            "An id has 1 to 128 letters, digits and characters of ._:/@+=~- and begins with a "
            "letter or digit."
        )
        raise invalid(text, where, "invalid_request_id")


def sane_id(id: str | None) -> str | None:
    """A caller's own name for a request, unless it is none."""
    return id if id is not None and OWN_ID.fullmatch(id) else None


def detokenize(token_ids: Sequence[int], terms: Terms) -> str:
    """Raises RequestError 400 for an id outside the vocabulary."""
    check_token_ids(token_ids, terms.vocabulary, "tokens")
    text: str = _tokenizer(terms.folder, terms.tokenizer_parts).decode(
        list(token_ids), skip_special_tokens=False
    )
    return text


@cache
def _tokenizer(folder: str, parts: str) -> "Tokenizer":
    from tokenizers import Tokenizer

    return Tokenizer.from_str(tokenizer_text(folder, parts))


def check_size(piece: object, terms: Terms) -> None:
    """Raises RequestError for more than any request needs, which no small body has."""
    if isinstance(piece, Generation | Embedding):
        _check(piece, terms)
    elif isinstance(piece, ChatPrompt | TextPrompt | TokenPrompt):
        _check_prompt(piece, terms)


def _read_detokenize(body: DetokenizeRequest, terms: Terms, _: Unread) -> list[str]:
    if len(body.tokens) > MAX_DETOKENIZED:
        raise invalid(f"At most {MAX_DETOKENIZED} tokens.", "tokens", "out_of_range")
    return [detokenize(body.tokens, terms)]


def _check(asked: Generation | Embedding, terms: Terms) -> None:
    with naming(asked.where if isinstance(asked, Embedding) else ""):
        _check_prompt(asked.prompt, terms)
    for item in asked.media:
        if (
            isinstance(item, Pending)
            and isinstance(item.content, Url)
            and len(item.content.url) > MAX_URL
        ):
            raise invalid(f"A URL has at most {MAX_URL} characters.", item.where, "invalid_url")
    if isinstance(asked, Generation) and len(asked.sampling.logit_bias or ()) > MAX_BIASES:
        raise invalid(f"At most {MAX_BIASES} tokens.", "logit_bias", "out_of_range")
    _check_free("mm_processor_kwargs", asked.mm_processor_kwargs)
    _check_free("media_io_kwargs", asked.media_io_kwargs)


def _check_free(where: str, *values: Any) -> None:
    waiting: list[Any] = list(values)
    count = 0
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
            count += len(value)
        elif isinstance(value, list | tuple):
            waiting += value
            count += len(value)
        if count > MAX_FREE:
            raise refuse(
                "too_large", f"It has more than {MAX_FREE} values.", where, "body_too_complex"
            )


def _check_prompt(prompt: Prompt, terms: Terms) -> None:
    """What no model reads need not be sent to its processes. Raises RequestError."""
    match prompt:
        case TextPrompt(text):
            size = _weight(text)
        case TokenPrompt(token_ids):
            if len(token_ids) > terms.context:
                raise beyond_context(f"The prompt has {len(token_ids)} tokens", terms.context)
            return
        case ChatPrompt(messages):
            if len(messages) + sum(len(message.content) for message in messages) > MAX_PIECES:
                text = f"At most {MAX_PIECES} messages and parts."
                raise refuse("too_large", text, "messages", "body_too_complex")
            _check_free("messages", *(message.extra for message in messages))
            _check_free("tools", prompt.tools)
            _check_free("chat_template_kwargs", prompt.template_kwargs)
            parts = (part for message in messages for part in message.content)
            size = sum(_weight(part.text) for part in parts if isinstance(part, Text))
        case EmbedsPrompt():
            return
    if size > MAX_TEXT:
        text = (
            f"The prompt's text is too long: at most {MAX_TEXT >> 20} MiB are taken, half as "
            f"much where it is not all ASCII."
        )
        raise invalid(text, code="context_length_exceeded")


def _weight(text: str) -> int:
    """What counts against MAX_TEXT."""
    return len(text) if text.isascii() else 2 * len(text.encode("utf-8", "surrogatepass"))


CHAT: Kind[ChatRequest, Generation] = Kind(
    "chat",
    ChatRequest,
    lambda body, terms, unread: [parse_chat(body, unread, terms.chat)],
    Generation,
)
COMPLETION: Kind[CompletionRequest, Generation] = Kind(
    "completion",
    CompletionRequest,
    lambda body, terms, unread: parse_completion(body, unread, embeds=terms.prompt_embeds),
    Generation,
)
EMBEDDING: Kind[EmbeddingRequest, Embedding] = Kind(
    "embedding",
    EmbeddingRequest,
    lambda body, terms, unread: parse_embedding(body, unread, terms.chat),
    Embedding,
)
RERANK: Kind[RerankRequest, ComparedInput] = Kind(
    "rerank",
    RerankRequest,
    lambda body, terms, unread: parse_rerank(body, unread, terms.chat, terms.context),
    ComparedInput,
)
SCORE: Kind[ScoreRequest, ComparedInput] = Kind(
    "score",
    ScoreRequest,
    lambda body, terms, unread: parse_score(body, unread, terms.chat),
    ComparedInput,
)
TOKENIZE: Kind[TokenizeRequest, Prompt] = Kind(
    "tokenize", TokenizeRequest, lambda body, _, unread: [parse_tokenize(body, unread)], Prompt
)
DETOKENIZE: Kind[DetokenizeRequest, str] = Kind(
    "detokenize", DetokenizeRequest, _read_detokenize, str
)
MESSAGES: Kind[MessagesRequest, Generation] = Kind(
    "messages",
    MessagesRequest,
    lambda body, terms, unread: [parse_messages(body, unread, terms.chat)],
    Generation,
)
COUNT: Kind[CountRequest, Generation] = Kind(
    "count",
    CountRequest,
    lambda body, terms, unread: [parse_count(body, unread, terms.chat)],
    Generation,
)
OLLAMA_CHAT: Kind[OllamaChat, Generation] = Kind(
    "ollama_chat",
    OllamaChat,
    lambda body, terms, unread: parse_ollama_chat(body, unread, terms.chat),
    Generation,
)
OLLAMA_GENERATE: Kind[OllamaGenerate, Generation] = Kind(
    "ollama_generate",
    OllamaGenerate,
    lambda body, terms, unread: parse_ollama_generate(body, unread, terms.chat),
    Generation,
)
OLLAMA_EMBED: Kind[OllamaEmbed, Embedding] = Kind(
    "ollama_embed", OllamaEmbed, lambda body, _, unread: parse_ollama_embed(body, unread), Embedding
)
OLLAMA_EMBEDDINGS: Kind[OllamaEmbeddings, Embedding] = Kind(
    "ollama_embeddings",
    OllamaEmbeddings,
    lambda body, _, unread: parse_ollama_embed(body, unread),
    Embedding,
)
OLLAMA_SHOW: Kind[OllamaShow, str] = Kind("ollama_show", OllamaShow, lambda *_: [], str)
BATCH: Kind[BatchRequest, BatchRequest] = Kind(
    "batch", BatchRequest, lambda body, terms, unread: [parse_batch(body)], BatchRequest
)
RESPONSE: Kind[ResponseRequest, ResponseCall] = Kind(
    "response",
    ResponseRequest,
    lambda body, terms, unread: [parse_response(body, unread, terms.chat)],
    ResponseCall,
)
STORED_ITEMS: Kind[StoredItems, Submission] = Kind(
    "stored_items",
    StoredItems,
    lambda body, terms, _: parse_stored(body, terms.chat),
    Submission,
)
KINDS: dict[str, Kind[Any, Any]] = {
    kind.name: kind
    for kind in (
        *(RESPONSE, STORED_ITEMS, RERANK, SCORE),
        *(CHAT, COMPLETION, EMBEDDING, TOKENIZE, DETOKENIZE, MESSAGES, COUNT, BATCH),
        *(OLLAMA_CHAT, OLLAMA_GENERATE, OLLAMA_EMBED, OLLAMA_EMBEDDINGS, OLLAMA_SHOW),
    )
}
