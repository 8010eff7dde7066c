"""Hostile calls of /rerank and /score: inputs of any structure, and odd fields."""

import json
from random import Random
from typing import Any

from .bodies import ODD, size_of
from .shot import Shot, packed, post
from .structures import value

RERANK, SCORE = ("/rerank", "/v1/rerank", "/v2/rerank"), ("/score", "/v1/score")
_INPUTS = (
    "%s",
    "[%s]",
    '{"text":%s}',
    '{"image":%s}',
    '{"image":"data:image/png;base64,AAAA","text":%s}',
    '{"content":%s}',
    '{"content":[%s]}',
    '{"type":%s}',
    '{"type":"image_url","image_url":%s}',
    '["a",{"content":[{"type":"text","text":%s}]}]',
)
_PLACES: tuple[tuple[tuple[str, ...], str], ...] = (
    *((RERANK, '{"query":"a","documents":%s}'.replace("%s", one)) for one in _INPUTS),
    *((RERANK, '{"query":%s,"documents":["a"]}'.replace("%s", one)) for one in _INPUTS),
    *((SCORE, '{"text_1":"a","text_2":%s}'.replace("%s", one)) for one in _INPUTS),
    *((SCORE, '{"queries":%s,"items":["a","b"]}'.replace("%s", one)) for one in _INPUTS),
    ((*RERANK, *SCORE), "%s"),
)
_KNOWN = (
    "query", "documents", "top_n", "return_documents", "max_tokens_per_doc", "rank_fields",
    "max_chunks_per_doc", "relevant_spans", "truncate_prompt_tokens", "query_prompt_name",
    "document_prompt_name", "text_1", "text_2", "data_1", "data_2", "queries", "items", "priority",
    "request_id", "timeline", "mm_processor_kwargs", "media_io_kwargs", "chat_template", "model",
    "chat_template_kwargs", "add_generation_prompt", "user", "use_activation",
)  # fmt: skip


def draw_scores(draw: Random, biggest: int) -> Shot:
    if draw.random() < 0.3:
        path = draw.choice((*RERANK, *SCORE))
        plain: dict[str, Any] = {"query": "a", "documents": ["b", "c"]}
        if path in SCORE:
            plain = {"text_1": "a", "text_2": ["b", "c"]}
        odd = {name: draw.choice(ODD) for name in draw.sample(_KNOWN, draw.randint(1, 4))}
        shown = ", ".join(f"{name}={json.dumps(given)[:40]}" for name, given in odd.items())
        return post(f"odd fields of {path}: {shown}", path, {**plain, **odd})
    size = size_of(draw, biggest)
    name, inner = value(draw, size)
    paths, place = draw.choice(_PLACES)
    before, _, after = place.encode().partition(b"%s")
    path = draw.choice(paths)
    how, pieces = packed(draw, path, before + inner + after)
    return Shot(what=f"{how}{name} of {size:,} bytes in {path} {place[:80]}", pieces=pieces)
