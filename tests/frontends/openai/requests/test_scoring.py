"""Bodies of /rerank and /score, in the shapes of Cohere, Jina and vLLM."""

import json
from pathlib import Path
from typing import Any

import pytest

from thespis.frontends.openai.bodies.handover import pack, unpack_body, unpack_piece
from thespis.frontends.openai.bodies.reading import RERANK, SCORE, Terms, read
from thespis.frontends.openai.requests.scoring import ComparedInput
from thespis.protocol.errors import RequestError
from thespis.protocol.memory.blobs import Draft
from thespis.protocol.requests.request import ChatPrompt, TextPrompt

TERMS = Terms("m", 64, 300, "folder", "")
PICTURE = "data:image/png;base64,cGl4ZWxz"


def asked(kind: Any, body: dict[str, Any]) -> tuple[list[ComparedInput], list[str]]:
    call = read(kind, json.dumps(body).encode(), TERMS)
    return call.pieces, call.ignored


def test_a_query_and_documents_of_all_kinds() -> None:
    sides, ignored = asked(
        RERANK,
        {
            "model": "m",
            "query": "q",
            "documents": ["a", {"text": "b", "title": "t"}, {"image": PICTURE}],
            "top_n": 2,
            "return_documents": True,
            "max_tokens_per_doc": 9,
            "priority": 3,
            "query_prompt_name": "query",
        },
    )
    assert ignored == ["documents[1].title"]
    assert [side.where for side in sides] == [
        *("query", "documents[0]", "documents[1]", "documents[2]")
    ]
    assert [side.second for side in sides] == [False, True, True, True]
    assert [side.prompt for side in sides[:3]] == [
        TextPrompt("q"),
        TextPrompt("a"),
        TextPrompt("b"),
    ]
    assert isinstance(sides[3].prompt, ChatPrompt)
    assert not sides[3].prompt.add_generation_prompt
    assert [side.pooling.truncate_prompt_tokens for side in sides] == [None, 9, 9, None]
    assert [side.pooling.prompt_name for side in sides] == ["query", None, None, None]
    assert {side.priority for side in sides} == {3}


def test_more_tokens_than_the_model_reads_are_all() -> None:
    sides, _ = asked(RERANK, {"query": "q", "documents": ["a"], "max_tokens_per_doc": 4096})
    assert sides[1].pooling.truncate_prompt_tokens == TERMS.context


@pytest.mark.parametrize(
    ("first", "second"),
    [("text_1", "text_2"), ("data_1", "data_2"), ("queries", "documents"), ("queries", "items")],
)
def test_a_score_by_any_names(first: str, second: str) -> None:
    for one, other, count in (("a", "b", 1), ("a", ["b", "c"], 2), (["a", "b"], ["c", "d"], 2)):
        sides, _ = asked(SCORE, {first: one, second: other})
        assert sum(side.second for side in sides) == count
        assert sides[-1].where == (f"{second}[{count - 1}]" if isinstance(other, list) else second)


@pytest.mark.parametrize(
    ("kind", "body", "part"),
    [
        (RERANK, {"documents": ["a"]}, "query"),
        (RERANK, {"query": "q"}, "documents"),
        (RERANK, {"query": "q", "documents": []}, "documents"),
        (RERANK, {"query": "q", "documents": "a"}, "documents"),
        (RERANK, {"query": ["q"], "documents": ["a"]}, "query"),
        (RERANK, {"query": "q", "documents": ["a", 7]}, "documents[1]"),
        (RERANK, {"query": "q", "documents": ["a"] * 2049}, "documents"),
        (RERANK, {"query": "q", "documents": ["a"], "top_n": -1}, "top_n"),
        (RERANK, {"query": "q", "documents": ["a"], "top_n": 1.5}, "top_n"),
        (RERANK, {"query": "q", "documents": ["a"], "rank_fields": ["title"]}, "rank_fields"),
        (RERANK, {"query": "q", "documents": ["a"], "relevant_spans": {}}, "relevant_spans"),
        (RERANK, {"query": "q", "documents": ["a"], "max_tokens_per_doc": 0}, "max_tokens_per_doc"),
        (
            RERANK,
            {
                "query": "q", "documents": ["a"], "max_tokens_per_doc": 4,
                "truncate_prompt_tokens": 4,
            },
            "max_tokens_per_doc",
        ),
        (
            SCORE,
            {"text_1": "a", "text_2": "b", "truncate_prompt_tokens": -2},
            "truncate_prompt_tokens",
        ),
        (SCORE, {}, "text_1"),
        (SCORE, {"text_1": "a"}, "text_1"),
        (SCORE, {"text_1": "a", "documents": "b"}, "documents"),
        (SCORE, {"text_1": "a", "text_2": "b", "items": "c"}, "items"),
        (SCORE, {"text_1": [], "text_2": "b"}, "text_1"),
        (SCORE, {"text_1": 7, "text_2": "b"}, "text_1"),
        (SCORE, {"text_1": "a", "text_2": {"image": 7}}, "text_2.image"),
        (SCORE, {"text_1": [7], "text_2": "b"}, "text_1[0]"),
        (SCORE, {"text_1": ["a", "b"], "text_2": "b"}, "text_2"),
        (SCORE, {"text_1": ["a", "b"], "text_2": ["b"] * 3}, "text_2"),
        (SCORE, {"text_1": "a", "text_2": ["b"] * 2049}, "text_2"),
        (SCORE, {"queries": ["a", {"image": 7}], "items": ["b", "c"]}, "queries[1].image"),
        (SCORE, {"text_1": "a", "text_2": "b", "max_cost": 1}, "max_cost"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(kind: Any, body: dict[str, Any], part: str) -> None:
    with pytest.raises(RequestError) as refused:
        asked(kind, body)
    assert refused.value.failure.part == part
    assert refused.value.status == 400


def test_a_reader_hands_over_what_it_has_read(tmp_path: Path) -> None:
    body = {"query": "q", "documents": ["a", {"text": "b", "content": None, "image": PICTURE}]}
    raw = json.dumps({**body, "top_n": 1, "user": "x" * 2000}).encode()
    call = read(RERANK, raw, TERMS)
    with open(tmp_path / "draft", "w+b") as file:
        head, pieces = pack(RERANK, call, Draft(file.name, file.fileno()))
    found = [unpack_piece(RERANK, piece) for piece in pieces]
    assert unpack_body(RERANK, head).top_n == 1
    assert [(one.prompt, one.where, one.second) for one in found] == [
        (one.prompt, one.where, one.second) for one in call.pieces
    ]
