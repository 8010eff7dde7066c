"""Hostile calls of /v1/responses: items of any structure, odd fields, and ids of what is stored
that nobody has given out."""

import json
from random import Random
from typing import Any

from .bodies import ODD, size_of
from .shot import Shot, packed, post, request
from .structures import value

RESPONSES, COUNT = "/v1/responses", "/v1/responses/input_tokens"
_ITEM = '{"max_output_tokens":4,"input":[%s]}'
_PLACES = (
    "%s",
    '{"max_output_tokens":4,"input":%s}',
    *(_ITEM.replace("%s", item) for item in (
        "%s",
        '{"role":"user","content":%s}',
        '{"role":%s,"content":"hi"}',
        '{"type":%s,"content":"hi","role":"user"}',
        '{"role":"user","content":[%s]}',
        '{"role":"user","content":[{"type":"input_text","text":%s}]}',
        '{"role":"user","content":[{"type":"input_image","image_url":%s}]}',
        '{"role":"user","content":[{"type":"input_file","file_data":%s}]}',
        '{"role":"assistant","content":[{"type":"output_text","text":"a","annotations":%s}]}',
        '{"type":"function_call","call_id":"a","name":"f","arguments":%s}',
        '{"type":"function_call_output","call_id":"a","output":%s}',
        '{"type":"function_call_output","call_id":%s,"output":"a"}',
        '{"type":"reasoning","content":%s}',
        '{"type":"reasoning","summary":[{"type":"summary_text","text":%s}]}',
        '{"type":"item_reference","id":%s}',
    )),
    *(f'{{"max_output_tokens":4,"input":"hi",{field}}}' for field in (
        '"tools":%s',
        '"tools":[%s]',
        '"tools":[{"type":"function","name":"f","parameters":%s}]',
        '"tools":[{"type":"function","name":"f"}],"tool_choice":%s',
        '"text":%s',
        '"text":{"format":%s}',
        '"text":{"format":{"type":"json_schema","name":"a","schema":%s}}',
        '"reasoning":%s',
        '"metadata":%s',
        '"include":%s',
        '"instructions":%s',
        '"previous_response_id":%s',
        '"conversation":%s',
        '"prompt":%s',
    )),
)  # fmt: skip
_KNOWN = (
    "input", "instructions", "previous_response_id", "tools", "tool_choice", "parallel_tool_calls",
    "text", "reasoning", "max_output_tokens", "max_tool_calls", "include", "top_logprobs",
    "truncation", "metadata", "safety_identifier", "prompt_cache_key", "service_tier", "store",
    "stream", "background", "conversation", "prompt", "temperature", "top_p", "user", "model",
    "stream_options", "moderation", "context_management", "chat_template_kwargs",
)  # fmt: skip
_TOKEN = "0" * 38
_IDS: tuple[str, ...] = (
    "resp_1", f"resp_{_TOKEN}", f"resp_{_TOKEN}o0", f"msg_{_TOKEN}o0", f"msg_{_TOKEN}i999999",
    "..", "../../etc/passwd", "resp_" + "a" * 5000, "\x00", "resp_\u0660", "%2e%2e%2f", "", "*",
)  # fmt: skip


def draw_responses(draw: Random, biggest: int) -> Shot:
    match draw.choices(("structure", "fields", "stored"), (60, 25, 15))[0]:
        case "structure":
            return _structure(draw, biggest)
        case "fields":
            odd = {name: draw.choice(ODD) for name in draw.sample(_KNOWN, draw.randint(1, 4))}
            shown = ", ".join(f"{name}={json.dumps(given)[:40]}" for name, given in odd.items())
            path = draw.choice((RESPONSES, RESPONSES, COUNT))
            plain: dict[str, Any] = {"input": "hi", "max_output_tokens": 4}
            return post(f"odd fields of {path}: {shown}", path, {**plain, **odd})
    return _stored(draw)


def _structure(draw: Random, biggest: int) -> Shot:
    size = size_of(draw, biggest)
    name, inner = value(draw, size)
    place = draw.choice(_PLACES)
    before, _, after = place.encode().partition(b"%s")
    path = draw.choice((RESPONSES, RESPONSES, COUNT))
    how, pieces = packed(draw, path, before + inner + after)
    return Shot(what=f"{how}{name} of {size:,} bytes in {path} {place[:80]}", pieces=pieces)


def _stored(draw: Random) -> Shot:
    """Asked for, removed, cancelled, or gone on with."""
    id = draw.choice(_IDS)
    if draw.random() < 0.4:
        item = {"type": "item_reference", "id": id}
        more = draw.choice(
            ({"previous_response_id": id}, {"input": [item] * draw.choice((1, 3000))})
        )
        body = {"input": "hi", "max_output_tokens": 4, **more}
        return post(f"what is stored as {id[:40]!r}", RESPONSES, body)
    method = draw.choice(("GET", "DELETE", "POST"))
    end = {"GET": draw.choice(("", "/input_items", "/input_items?limit=x&after=%00&order=up")),
           "DELETE": "", "POST": "/cancel"}[method]  # fmt: skip
    safe = "".join(c if c.isascii() and c.isprintable() and c not in " ?#" else "%00" for c in id)
    path = f"{RESPONSES}/{safe}{end}"
    pieces = request(path, b"", method=method)
    return Shot(what=f"{method} {path[:60]}", pieces=pieces, methods=(method,))
