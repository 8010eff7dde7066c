"""How the answers of /rerank are written."""

import json
from typing import Any

from thespis.frontends.client.answer import Answer
from thespis.frontends.openai.requests.scoring import RerankRequest, parse_rerank
from thespis.frontends.openai.scoring.writers import PIECE, rerank_pieces


def test_documents_are_told_again_piece_by_piece() -> None:
    """2,000 of 20 KB that JSON escapes were written in one go, which held the loop for 2 s."""
    given = [f"{number} " + "\1é" * 500 for number in range(400)]
    _, *documents = parse_rerank(RerankRequest(query="a", documents=list(given)))
    scores = [number / 400 for number in range(400)]
    best = list(reversed(range(400)))
    answers = [Answer(0) for _ in given]
    head = {"id": "rerank-1", "model": "m"}
    tail: dict[str, Any] = {"timeline": {}}
    pieces = list(rerank_pieces(head, scores, best, documents, answers, tail))
    assert len(pieces) > 5
    assert max(map(len, pieces)) < PIECE + 6000, "a row more at the most"
    told = json.loads(b"".join(pieces))
    assert list(told) == ["id", "model", "results", "usage", "meta", "timeline"]
    assert [(row["index"], row["relevance_score"]) for row in told["results"]] == [
        (place, scores[place]) for place in best
    ]
    assert [row["document"]["text"] for row in told["results"]] == given[::-1]
    small = json.loads(b"".join(rerank_pieces(head, [0.5], [0], None, answers, {})))
    assert small["results"] == [{"index": 0, "relevance_score": 0.5}]
