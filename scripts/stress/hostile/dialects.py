"""Hostile bodies for the paths of other APIs than OpenAI's: structures in every place of a call,
and ordinary calls with odd fields."""

import json
from random import Random
from typing import Any

from .bodies import ODD, size_of
from .shot import HOST, Shot, packed, post
from .structures import value

MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
OLLAMA = ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/show")
CHANGES = ("/api/pull", "/api/push", "/api/create", "/api/copy", "/api/blobs/sha256:00")
_USER = '"messages":[{"role":"user","content":%s}]'
_BLOCKS = (
    "%s",
    "[%s]",
    '[{"type":"text","text":%s}]',
    '[{"type":"image","source":%s}]',
    '[{"type":"image","source":{"type":"base64","media_type":"image/png","data":%s}}]',
    '[{"type":"image","source":{"type":"url","url":%s}}]',
    '[{"type":"document","source":{"type":"content","content":%s}}]',
    '[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":%s}}]',
    '[{"type":"search_result","title":"a","source":"b","content":%s}]',
    '[{"type":"tool_result","tool_use_id":"t","content":%s}]',
    '[{"type":"tool_result","tool_use_id":%s}]',
)
_PLACES: tuple[tuple[str, str], ...] = (
    *((MESSAGES, '{"max_tokens":4,' + _USER % block + "}") for block in _BLOCKS),
    *((COUNT, "{" + _USER % block + "}") for block in _BLOCKS),
    *(
        (MESSAGES, '{"max_tokens":4,' + _USER % '"hi"' + "," + place + "}")
        for place in (
            '"system":%s',
            '"tools":%s',
            '"tools":[{"name":"f","input_schema":%s}]',
            '"tools":[{"name":"f","input_schema":{}}],"tool_choice":%s',
            '"stop_sequences":%s',
            '"metadata":%s',
            '"thinking":%s',
            '"output_config":{"format":{"type":"json_schema","schema":%s}}',
            '"cache_control":%s',
        )
    ),
    (
        MESSAGES,
        '{"max_tokens":4,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":'
        '[{"type":"tool_use","id":"t","name":"f","input":%s}]},{"role":"user","content":"b"}]}',
    ),
    *(
        ("/api/chat", '{"options":{"num_predict":4},"stream":false,' + place + "}")
        for place in (
            _USER,
            '"messages":%s',
            '"messages":[{"role":"user","content":"hi","images":%s}]',
            '"messages":[{"role":"user","content":"hi","images":[%s]}]',
            '"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":%s}}]}]',
            '"messages":[{"role":"user","content":"hi"}],"format":%s',
            '"messages":[{"role":"user","content":"hi"}],"tools":%s',
            '"messages":[{"role":"user","content":"hi"}],"options":%s',
            '"messages":[{"role":"user","content":"hi"}],"keep_alive":%s',
        )
    ),
    *(
        ("/api/generate", '{"options":{"num_predict":4},' + place + "}")
        for place in ('"prompt":%s', '"prompt":"hi","images":%s', '"prompt":"hi","format":%s')
    ),
    ("/api/embed", '{"input":%s}'),
    ("/api/embeddings", '{"prompt":%s}'),
    *((path, "%s") for path in (MESSAGES, COUNT, *OLLAMA, *CHANGES)),
)
_KNOWN = (
    "model", "max_tokens", "messages", "system", "stop_sequences", "stream", "temperature", "top_p",
    "top_k", "tools", "tool_choice", "thinking", "metadata", "cache_control", "service_tier",
    "output_config", "output_format", "container", "mcp_servers", "context_management", "betas",
    "options", "format", "keep_alive", "think", "images", "raw", "suffix", "template", "context",
    "prompt", "input", "truncate", "dimensions", "logprobs", "top_logprobs", "name", "verbose",
    "chat_template_kwargs", "mm_processor_kwargs", "media_io_kwargs", "priority", "request_id",
)  # fmt: skip
_SAYS: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
_PLAIN: dict[str, dict[str, Any]] = {
    MESSAGES: {"max_tokens": 4, **_SAYS},
    COUNT: _SAYS,
    "/api/chat": {"options": {"num_predict": 4}, **_SAYS},
    "/api/generate": {"options": {"num_predict": 4}, "prompt": "hi"},
    "/api/embed": {"input": "hi"},
    "/api/embeddings": {"prompt": "hi"},
    "/api/show": {},
}


def draw_dialects(draw: Random, biggest: int) -> Shot:
    match draw.choices(("structure", "fields", "question"), (6, 3, 1))[0]:
        case "structure":
            name, inner = value(draw, size_of(draw, biggest))
            path, place = draw.choice(_PLACES)
            before, _, after = place.encode().partition(b"%s")
            how, pieces = packed(draw, path, before + inner + after)
            return Shot(what=f"{how}{name} in {path} {place[:80]}", pieces=pieces)
        case "fields":
            path = draw.choice(list(_PLAIN))
            odd = {name: draw.choice(ODD) for name in draw.sample(_KNOWN, draw.randint(1, 4))}
            shown = ", ".join(f"{name}={json.dumps(given)[:40]}" for name, given in odd.items())
            return post(f"odd fields of {path}: {shown}", path, {**_PLAIN[path], **odd})
    return _question(draw)


def _question(draw: Random) -> Shot:
    """Paths that take no body, by methods of all kinds."""
    paths = ("/api/tags", "/api/ps", "/api/version", "/api/delete", "/api/nothing", "/v1/models")
    path, method = draw.choice(paths), draw.choice(("GET", "HEAD", "DELETE", "PUT", "PATCH"))
    lines = [f"{method} {path} HTTP/1.1", "anthropic-version: 2023-06-01"]
    key = draw.choice((None, "", "k" * 5000, "k\u00e9", "a, b"))
    if key is not None:
        lines.append(f"x-api-key: {key}")
    raw = "\r\n".join(lines).encode("latin-1") + b"\r\n" + HOST + b"Connection: close\r\n\r\n"
    return Shot(what=f"{method} {path}", pieces=[raw], methods=(method,))
