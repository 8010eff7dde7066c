"""What calls that compare inputs ask for. Pure; every refusal names the field."""

from collections.abc import Mapping
from typing import Any

from ....protocol.errors import invalid
from ....protocol.requests.pooling import PoolingParams
from ....protocol.requests.request import ChatMessage, TextPrompt
from ...inputs.media import Pending
from ...inputs.parts import Rules
from ...inputs.scoring import pair_up, read_document
from ...inputs.unread import Unread
from .common import USUAL, ChatTerms, Embedding, chat_prompt, shared_fields
from .embeddings import MAX_INPUTS
from .schema import Vectorized

NAMES = (
    ("text_1", "text_2"),
    ("data_1", "data_2"),
    ("queries", "documents"),
    ("queries", "items"),
)
"""What the two sides of a score may be called."""


class ComparingRequest(Vectorized, kw_only=True):
    """What both have in common."""

    built = frozenset({"truncate_prompt_tokens", "documents"})
    query_prompt_name: str | None = None
    document_prompt_name: str | None = None
    """Of the checkpoint's prompts the one that stands before the texts of a side."""


class RerankRequest(ComparingRequest, kw_only=True):
    query: Any = None
    documents: list[Any] | None = None
    top_n: int | None = None
    return_documents: bool | None = None
    max_tokens_per_doc: int | None = None
    # Not supported yet, see NOT_YET.
    rank_fields: list[str] | None = None
    max_chunks_per_doc: int | None = None
    relevant_spans: Any = None


class ScoreRequest(ComparingRequest, kw_only=True):
    text_1: Any = None
    text_2: Any = None
    data_1: Any = None
    data_2: Any = None
    queries: Any = None
    documents: Any = None
    items: Any = None


class ComparedInput(Embedding, frozen=True, kw_only=True):
    """One input that is compared with others."""

    second: bool = False
    """It is a document rather than a query."""


def parse_rerank(
    request: RerankRequest,
    unread: Unread | None = None,
    terms: ChatTerms = USUAL,
    context: int | None = None,
) -> list[ComparedInput]:
    """The query, and behind it the documents. `context`: tokens, of the model."""
    if request.query is None:
        raise invalid("This field is required.", "query", "missing_field")
    if not request.documents:
        text = "There must be at least one document."
        raise invalid(text, "documents", "missing_field")
    if request.top_n is not None and request.top_n < 0:
        raise invalid("It is a number of documents, 1 or more; 0: all.", "top_n", "out_of_range")
    most = request.max_tokens_per_doc
    if most is not None and context is not None:
        most = min(most, context)
    reader = _Reader(request, unread or Unread(), terms, most)
    query = reader.read(request.query, "query", second=False)
    documents = _side(request.documents, "documents")
    return [query, *reader.each(documents, "documents", second=True)]


def parse_score(
    request: ScoreRequest, unread: Unread | None = None, terms: ChatTerms = USUAL
) -> list[ComparedInput]:
    """Those of the first side, and behind them those of the second, which fit each other."""
    given = {name for names in NAMES for name in names if getattr(request, name) is not None}
    names = next((names for names in NAMES if given == set(names)), None)
    if names is None:
        pairs = ", or ".join(f"`{one}` and `{other}`" for one, other in NAMES)
        raise invalid(f"Give {pairs}.", min(given, default=NAMES[0][0]), "missing_field")
    sides = [_side(getattr(request, name), name) for name in names]
    pair_up(len(sides[0]), len(sides[1]), names[1])
    reader = _Reader(request, unread or Unread(), terms)
    return [
        *reader.each(sides[0], names[0], second=False),
        *reader.each(sides[1], names[1], second=True),
    ]


def _side(given: Any, name: str) -> dict[str, Any]:
    """Its inputs by their places: one that stands for itself has no number."""
    if not isinstance(given, list):
        return {name: given}
    if not given:
        raise invalid("There must be at least one.", name, "missing_field")
    return {f"{name}[{at}]": one for at, one in enumerate(given)}


class _Reader:
    """Reads the inputs of one call."""

    def __init__(
        self, request: ComparingRequest, unread: Unread, terms: ChatTerms, most: int | None = None
    ) -> None:
        """`most`: tokens of a document's text that are read."""
        self._request, self._unread, self._rules = request, unread, Rules(terms.embeds)
        self._common = shared_fields(request)
        cut = request.truncate_prompt_tokens
        if most is not None and cut is not None:
            text = "It excludes `truncate_prompt_tokens`."
            raise invalid(text, "max_tokens_per_doc", "contradicting_fields")
        self._pooling = (
            self._pooled(cut, "truncate_prompt_tokens", request.query_prompt_name),
            self._pooled(cut, "truncate_prompt_tokens", request.document_prompt_name)
            if most is None
            else self._pooled(most, "max_tokens_per_doc", request.document_prompt_name),
        )

    def each(self, given: Mapping[str, Any], name: str, second: bool) -> list[ComparedInput]:
        """`given`: by their places."""
        if len(given) > MAX_INPUTS:
            text = f"At most {MAX_INPUTS} inputs in one call."
            raise invalid(text, name, "too_many_prompts")
        return [self.read(one, where, second) for where, one in given.items()]

    def read(self, given: Any, where: str, second: bool) -> ComparedInput:
        media: list[Pending] = []
        read = read_document(given, where, media, self._rules, self._unread)
        prompt = (
            chat_prompt(self._request, (read,), answered=False)
            if isinstance(read, ChatMessage)
            else TextPrompt(read)
        )
        pooling = self._pooling[second]
        if not isinstance(prompt, TextPrompt):  # it has words of its own around it, and is whole
            cut = self._request.truncate_prompt_tokens
            pooling = pooling.replace(prompt_name=None, truncate_prompt_tokens=cut)
        return ComparedInput(
            prompt=prompt, media=tuple(media), pooling=pooling, second=second, where=where,
            **self._common,
        )  # fmt: skip

    def _pooled(self, cut: int | None, name: str, prompt_name: str | None) -> PoolingParams:
        try:
            return PoolingParams(truncate_prompt_tokens=cut, prompt_name=prompt_name)
        except ValueError as error:  # the text is our own, and begins with the field
            said = str(error).partition(" ")[2]
            raise invalid(f"{name} {said}", name, "out_of_range") from None
