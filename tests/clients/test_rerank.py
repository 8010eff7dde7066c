"""Cohere's client, by both of its APIs, at a server whose model makes vectors."""

from typing import Any

import cohere
import pytest

MODEL = "demo_model"
DOCUMENTS = ["A blue square.", "A red circle is left of the blue square.", "Ten sounds."]


@pytest.fixture
def base(vectors: str) -> str:
    return vectors.removesuffix("/v1")


def test_cohere(base: str) -> None:
    for api in (
        cohere.Client(base_url=base, api_key="none"),
        cohere.ClientV2(base_url=base, api_key="none"),
    ):
        asked: dict[str, Any] = {"model": MODEL, "query": "A red circle.", "documents": DOCUMENTS}
        answer = api.rerank(**asked)
        assert sorted(row.index for row in answer.results) == [0, 1, 2]
        scores = [row.relevance_score for row in answer.results]
        assert scores == sorted(scores, reverse=True)
        assert answer.id
        assert answer.meta is not None
        assert answer.meta.tokens is not None
        assert answer.meta.tokens.input_tokens
        (best,) = api.rerank(**asked, top_n=1).results
        assert best == answer.results[0]
        with pytest.raises(cohere.BadRequestError) as refused:
            api.rerank(**{**asked, "documents": ["a", ""]})
        assert refused.value.body["error"]["param"] == "documents[1]"


def test_cohere_documents_as_objects(base: str) -> None:
    api = cohere.Client(base_url=base, api_key="none")
    given = [{"text": text} for text in DOCUMENTS]
    asked: dict[str, Any] = {"model": MODEL, "query": "A red circle."}
    plain = api.rerank(**asked, documents=DOCUMENTS, return_documents=True)
    objects = api.rerank(**asked, documents=given, return_documents=True)
    for one, other in zip(plain.results, objects.results, strict=True):
        assert (one.index, one.relevance_score) == (
            other.index,
            pytest.approx(other.relevance_score, abs=1e-5),
        )
        assert one.document is not None
        assert other.document is not None
        assert one.document.text == other.document.text == DOCUMENTS[one.index]
