"""What /rerank and /score answer. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ....protocol.requests.request import ChatPrompt, Text, TextPrompt
from ...client.answer import Answer
from ..answers.writer import encode_json, usage
from ..requests.scoring import ComparedInput

PIECE = 1 << 16
"""Bytes: rows are written together up to about so many."""


def rerank_pieces(
    head: Mapping[str, Any],
    scores: Sequence[float],
    best: Sequence[int],
    documents: Sequence[ComparedInput] | None,
    answers: Sequence[Answer],
    tail: Mapping[str, Any],
) -> Iterator[bytes]:
    """As Jina and vLLM have it, with Cohere's `meta`; documents are written when their turns come,
    since all of them may be as large as a body. `best`: places of documents, the best first;
    `documents`: where they are told again; `tail`: what stands behind all."""
    gathered = encode_json(head)[:-1] + b',"results":['
    for rank, place in enumerate(best):
        row: dict[str, Any] = {"index": place, "relevance_score": scores[place]}
        if documents is not None:
            row["document"] = {"text": _text_of(documents[place])}
        gathered += b"," * (rank > 0) + encode_json(row)
        if len(gathered) >= PIECE:
            yield gathered
            gathered = b""
    counted = _counted(answers)
    tokens = {"input_tokens": counted["prompt_tokens"], "output_tokens": 0}
    end = {"usage": counted, "meta": {"tokens": tokens}, **tail}
    yield gathered + b"]," + encode_json(end)[1:]


def score_body(
    id: str, model: str, created: int, scores: Sequence[float], answers: Sequence[Answer]
) -> dict[str, Any]:
    """As vLLM has it."""
    rows = [
        {"index": place, "object": "score", "score": score} for place, score in enumerate(scores)
    ]
    return {
        "id": id,
        "object": "list",
        "created": created,
        "model": model,
        "data": rows,
        "usage": _counted(answers),
    }


def _counted(answers: Sequence[Answer]) -> dict[str, Any]:
    told = usage(answers)
    del told["completion_tokens"]
    return told


def _text_of(document: ComparedInput) -> str | None:
    """Media are not sent back. None: it has no text."""
    match document.prompt:
        case TextPrompt(text):
            return text
        case ChatPrompt(messages):
            parts = (part for message in messages for part in message.content)
            texts = [part.text for part in parts if isinstance(part, Text)]
            return "\n".join(texts) if texts else None
    return None
