"""What /rerank and /score answer. Pure."""

from collections.abc import Sequence
from typing import Any

from ....protocol.requests.request import ChatPrompt, Text, TextPrompt
from ...client.answer import Answer
from ..answers.writer import usage
from ..requests.scoring import ComparedInput


def rerank_body(
    id: str,
    model: str,
    scores: Sequence[float],
    best: Sequence[int],
    documents: Sequence[ComparedInput] | None,
    answers: Sequence[Answer],
) -> dict[str, Any]:
    """As Jina and vLLM have it, with Cohere's `meta`. `best`: places of documents, the best first;
    `documents`: where they are told again."""
    counted = _counted(answers)
    rows = []
    for place in best:
        row: dict[str, Any] = {"index": place, "relevance_score": scores[place]}
        if documents is not None:
            row["document"] = {"text": _text_of(documents[place])}
        rows.append(row)
    tokens = {"input_tokens": counted["prompt_tokens"], "output_tokens": 0}
    return {
        "id": id,
        "model": model,
        "results": rows,
        "usage": counted,
        "meta": {"tokens": tokens},
    }


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
