"""What goes back over HTTP: S49's ignored and refused fields, S53's usage, and S54's events."""

import json
import logging
import re
from typing import Any

import pytest

from thespis.frontends.inputs import parts as parts_module

from ..helpers.media import clip, data_url, picture, png, sound, wav
from ..helpers.serving import Server
from .faces import BOB, Face, ask

pytestmark = pytest.mark.process

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": HELLO, "max_tokens": 2},
    COMPLETIONS: {"prompt": "hello", "max_tokens": 2},
    "/tokenize": {"prompt": "hello"},
    "/detokenize": {"tokens": [104]},
}


def image_part(seed: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "image_url",
        "image_url": {"url": data_url("image/png", png(picture(seed))), **more},
    }


def log_of(server: Server) -> str:
    return (server.run_dir / "engine.log").read_text()


# S49


@pytest.mark.parametrize("detail", ["low", "high", "original", 7])
def test_S49_detail_changes_nothing_and_is_warned_of_once(
    face: Face, server: Server, detail: object, caplog: pytest.LogCaptureFixture
) -> None:
    parts_module._warn_of_detail.cache_clear()
    plain = ask(face, [image_part(1)])
    auto = ask(face, [image_part(1, detail="auto")])
    with caplog.at_level(logging.WARNING):
        told = [ask(face, [image_part(1, detail=detail)]) for _ in range(2)]
    for answer in (auto, *told):
        assert answer._replace(cached_tokens=0) == plain._replace(cached_tokens=0)
    log = log_of(server) if face.name == "http" else caplog.text
    assert log.count("`detail` has no effect") == 1


@pytest.mark.parametrize("path", sorted(BODIES))
def test_S49_unknown_fields_are_ignored_with_a_warning(server: Server, path: str) -> None:
    plain = server.ask(path, BODIES[path])
    assert "X-Thespis-Ignored-Fields" not in plain.headers
    name = "fancy_" + re.sub(r"\W", "_", path)
    for _ in range(2):
        reply = server.ask(
            path, {**BODIES[path], name: {"a": [1]}, "service_tier": "flex", "store": True}
        )
        assert reply.status == 200
        assert reply.headers["X-Thespis-Ignored-Fields"] == f"{name}, service_tier, store"
    assert log_of(server).count(name) == 1


def test_S49_so_are_they_in_a_stream(server: Server) -> None:
    asked = {**BODIES[CHAT], "verbosity": "low", "stream_options": {"include_obfuscation": False}}
    with server.streaming(CHAT, asked) as response:
        assert (
            response.headers["X-Thespis-Ignored-Fields"]
            == "verbosity, stream_options.include_obfuscation"
        )
        assert response.read().endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("max_new_tokens", 5, "unknown_field"),
        ("max_tool_calls", 5, "unknown_field"),
        ("timeout", 1.5, "unknown_field"),
        ("cache_salt", "secret", "unknown_field"),
        ("guided_whitespace_pattern", " ", "unknown_field"),
        ("banned_words", ["x"], "unknown_field"),
        ("best_of", 5, "unsupported"),
        ("use_beam_search", True, "unsupported"),
        ("truncate_prompt_tokens", 3, "unsupported"),
    ],
)
def test_S49_what_could_cost_money_or_safety_is_refused(
    server: Server, path: str, name: str, value: Any, code: str
) -> None:
    reply = server.ask(path, {**BODIES[path], name: value})
    assert (reply.status, reply.body["error"]["param"], reply.body["error"]["code"]) == (
        400,
        name,
        code,
    )


# S53

MEDIA = [
    image_part(3),
    {"type": "video_url", "video_url": {"url": data_url("video/mp4", clip(3))}},
    {"type": "audio_url", "audio_url": {"url": data_url("audio/wav", wav(sound(3)))}},
    image_part(4),
    {"type": "text", "text": "What?"},
]


def usage_of(events: bytes) -> list[Any]:
    """Of each event: its `usage`, or "absent"."""
    return [
        json.loads(event[6:]).get("usage", "absent")
        for event in events.split(b"\n\n")
        if event.startswith(b"data: {")
    ]


def test_S53_usage_counts_prompt_completion_and_media_tokens(server: Server) -> None:
    asked = {
        "messages": [{"role": "user", "content": MEDIA}],
        "max_tokens": 5,
        "ignore_eos": True,
        "return_token_ids": True,
    }
    body = server.ask(CHAT, asked).body
    usage = body["usage"]
    prompt = len(body["prompt_token_ids"])
    assert usage["prompt_tokens"] == prompt
    assert usage["completion_tokens"] == len(body["choices"][0]["token_ids"]) == 5
    assert usage["total_tokens"] == prompt + 5
    details = usage["prompt_tokens_details"]
    assert set(details) == {"cached_tokens", "image_tokens", "video_tokens", "audio_tokens"}
    parts = {
        "image_tokens": [MEDIA[0], MEDIA[3]],
        "video_tokens": [MEDIA[1]],
        "audio_tokens": [MEDIA[2]],
    }
    for name, content in parts.items():
        alone = server.ask(
            CHAT, {**asked, "messages": [{"role": "user", "content": content}]}
        ).body["usage"]
        counted = alone["prompt_tokens_details"]
        assert counted == {name: details[name], "cached_tokens": counted["cached_tokens"]}
        assert 0 < details[name] < alone["prompt_tokens"]


def test_S53_every_face_counts_the_same_media_tokens(face: Face, server: Server) -> None:
    counted = ask(face, MEDIA, max_tokens=2).media_tokens
    body = server.ask(
        CHAT, {"messages": [{"role": "user", "content": MEDIA}], "max_tokens": 2}
    ).body
    details = body["usage"]["prompt_tokens_details"]
    assert counted == {
        name.removesuffix("_tokens"): count
        for name, count in details.items()
        if name != "cached_tokens"
    }


def test_S53_cached_tokens_are_those_of_the_prefix_that_was_there(server: Server) -> None:
    words = "these words have not been said before " * 3
    asked = {"messages": [{"role": "user", "content": words}], "max_tokens": 1}
    first, second = (server.ask(CHAT, asked).body["usage"] for _ in range(2))
    template = 8  # tokens that other chats of this tenant may have begun with
    assert first["prompt_tokens_details"]["cached_tokens"] <= template
    cached = second["prompt_tokens_details"]["cached_tokens"]
    assert cached == second["prompt_tokens"] - 1  # the last token is always computed
    assert second["prompt_tokens"] == first["prompt_tokens"] > cached
    assert (
        server.ask(CHAT, asked, key=BOB).body["usage"]["prompt_tokens_details"]["cached_tokens"]
        <= template
    )  # another tenant's


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_S53_a_stream_ends_with_the_same_usage_where_it_is_asked_for(
    server: Server, path: str
) -> None:
    more = {"max_tokens": 6, "n": 2, "temperature": 0, "ignore_eos": True}
    asked = (
        {"messages": [{"role": "user", "content": MEDIA}], **more}
        if path == CHAT
        else {"prompt": ["one", "three"], **more}
    )
    server.ask(path, asked)  # from here on, all have the same prefix cached
    whole = server.ask(path, asked).body["usage"]
    assert whole["completion_tokens"] == (12 if path == CHAT else 24)
    usages = usage_of(server.stream(path, {**asked, "stream_options": {"include_usage": True}}))
    assert usages == [None] * (len(usages) - 1) + [whole]
    assert set(usage_of(server.stream(path, asked))) == {"absent"}


# S54


@pytest.mark.parametrize("n", [1, 2])
def test_S54_the_events_of_a_chat(server: Server, n: int) -> None:
    asked = {
        "messages": HELLO,
        "max_tokens": 6,
        "n": n,
        "ignore_eos": True,
        "temperature": 1,
        "seed": 5,
    }
    with server.streaming(CHAT, asked) as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-cache"
        raw = response.read()
    assert re.fullmatch(rb"(data: \{[^\n]*\}\n\n)+data: \[DONE\]\n\n", raw)
    chunks = [json.loads(event[6:]) for event in raw.split(b"\n\n")[:-2]]
    for chunk in chunks:
        assert set(chunk) == {"id", "object", "created", "model", "choices"}
        assert chunk["id"] == chunks[0]["id"]
        assert chunk["id"].startswith("chatcmpl-")
        assert (chunk["object"], chunk["model"], type(chunk["created"])) == (
            "chat.completion.chunk",
            "tiny",
            int,
        )
        (choice,) = chunk["choices"]
        assert {"index", "delta", "logprobs", "finish_reason"} == set(choice)
    for index in range(n):
        first, *middle, last = [
            chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index
        ]
        assert first["delta"] == {"role": "assistant", "content": ""}
        assert all(
            set(choice["delta"]) == {"content"} and choice["finish_reason"] is None
            for choice in middle
        )
        assert (last["delta"], last["finish_reason"]) == ({}, "length")


def test_S54_the_events_of_a_completion(server: Server) -> None:
    raw = server.stream(COMPLETIONS, {"prompt": ["a", "b"], "max_tokens": 4, "ignore_eos": True})
    assert re.fullmatch(rb"(data: \{[^\n]*\}\n\n)+data: \[DONE\]\n\n", raw)
    chunks = [json.loads(event[6:]) for event in raw.split(b"\n\n")[:-2]]
    for index in range(2):
        choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + [
            "length"
        ]
    assert {(chunk["object"], chunk["id"][:5]) for chunk in chunks} == {
        ("text_completion", "cmpl-")
    }


def test_S54_what_fails_before_the_first_event_has_a_status(server: Server) -> None:
    with server.streaming(
        CHAT, {"messages": [{"role": "user", "content": "x" * 2000}]}
    ) as response:
        assert response.status == 400
        assert response.headers["Content-Type"] == "application/json"
        assert json.loads(response.read())["error"]["code"] == "context_length_exceeded"
