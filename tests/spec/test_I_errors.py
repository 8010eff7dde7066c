"""S56's errors: OpenAI's shape, a stable code, a status of the right class; and S54's error inside
a stream."""

import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from ..helpers.commands import ServeCommand
from ..helpers.media import data_url, picture, png
from ..helpers.serving import Caller, Reply, Server
from .faces import ALICE, BOB

pytestmark = pytest.mark.process

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": HELLO, "max_tokens": 2},
    COMPLETIONS: {"prompt": "hello", "max_tokens": 2},
}


def checked(reply: Reply, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error object, whole."""
    assert set(reply.body) == {"error"}
    error: dict[str, Any] = reply.body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (reply.status, error["code"], error["param"]) == (status, code, param), error
    assert isinstance(error["message"], str)
    assert error["message"]
    return error


BAD: list[tuple[str, Any, int, str, str | None]] = [
    (CHAT, {"messages": []}, 400, "empty_messages", "messages"),
    (CHAT, {"messages": "x"}, 400, "wrong_type", "messages"),
    (CHAT, {}, 400, "missing_field", "messages"),
    (CHAT, [], 400, "wrong_type", None),
    (CHAT, {"messages": HELLO, "temperature": -1}, 400, "out_of_range", "temperature"),
    (CHAT, {"messages": HELLO, "model": "gpt-4"}, 404, "model_not_found", "model"),
    (
        CHAT,
        {"messages": [{"role": "user", "content": "x" * 1100}]},
        400,
        "context_length_exceeded",
        None,
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "x"}]}]},
        400,
        "unknown_part",
        "messages[0].content[0].type",
    ),
    (COMPLETIONS, {"prompt": []}, 400, "empty_prompt", "prompt"),
    (COMPLETIONS, {"prompt": ""}, 400, "empty_prompt", "prompt"),
    (COMPLETIONS, {"prompt": "", "stream": True}, 400, "empty_prompt", "prompt"),
    (COMPLETIONS, {"prompt": ["x", ""]}, 400, "empty_prompt", "prompt[1]"),
    (COMPLETIONS, {"prompt": "x" * 1100}, 400, "context_length_exceeded", "prompt"),
    (COMPLETIONS, {"prompt": "x", "guided_regex": "("}, 400, "invalid_grammar", "guided_regex"),
    ("/tokenize", {}, 400, "missing_field", "prompt"),
    ("/detokenize", {"tokens": [1 << 30]}, 400, "out_of_range", "tokens"),
    ("/v1/nothing", {}, 404, "unknown_path", None),
    ("/health", {}, 405, "method_not_allowed", None),
]


@pytest.mark.parametrize(("path", "body", "status", "code", "param"), BAD)
def test_S56_bad_input_is_4xx_with_a_stable_code(
    server: Server, path: str, body: Any, status: int, code: str, param: str | None
) -> None:
    error = checked(server.ask(path, body), status, code, param)
    assert error["type"] == ("not_found_error" if status == 404 else "invalid_request_error")


@pytest.mark.parametrize("depth", [100, 700, 950, 5000])
def test_S56_what_nests_deep_is_answered_or_4xx(server: Server, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    call = {"function": {"name": "f", "arguments": deep}}
    function = {"name": "f", "parameters": {"x": "DEEP"}}
    for more in (
        {"chat_template_kwargs": {"x": "DEEP"}},
        {"tools": [{"type": "function", "function": function}]},
        {"messages": [*HELLO, {"role": "assistant", "content": None, "tool_calls": [call]}]},
        {"mm_processor_kwargs": {"max_pixels": "DEEP"}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"x": "DEEP"}},
            }
        },
    ):
        body = json.dumps({**BODIES[CHAT], **more}).replace('"DEEP"', deep).encode()
        headers = {"Authorization": f"Bearer {ALICE}", "Content-Type": "application/json"}
        request = urllib.request.Request(server.url + CHAT, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                status = response.status
        except urllib.error.HTTPError as refused:
            status = refused.code
            refused.close()
        assert status in (200, 400, 413), more


def test_S56_bad_media_are_4xx_and_named(server: Server) -> None:
    for url, status in (
        (data_url("image/png", b"no picture"), 422),
        ("data:image/png;base64,@@", 400),
        ("gopher://example.org/x", 400),
        ("http://127.0.0.1:1/x.png", 400),
        ("file:///etc/passwd", 400),
    ):
        reply = server.chat(
            [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]
        )
        error = reply.body["error"]
        assert reply.status == status, error
        assert error["param"].startswith("messages[0].content[1]")


@pytest.fixture(scope="module")
def small() -> Iterator[ServeCommand]:
    """Room for two requests, and little patience at the end. The last test of this module ends it.

    Its runner is a fake that takes 20 ms a step: streams of 4000 tokens outlive every test.
    """
    slow = {**os.environ, "FAKE_STEP_SECONDS": "0.02"}
    flags = ("--max-requests", "2", "--max-body-mb", "1", "--drain-timeout", "1")
    started = ServeCommand(*flags, environment=slow, torchless=True)
    yield started
    if started.process.poll() is None:
        started.end()


LONG = {"prompt": "x", "max_tokens": 4000, "ignore_eos": True}


def test_S56_overload_is_429_and_says_when_to_come_back(small: ServeCommand) -> None:
    caller = Caller(small.url)
    with caller.streaming(COMPLETIONS, LONG) as one, caller.streaming(COMPLETIONS, LONG) as two:
        assert one.readline().startswith(b"data: {")
        assert two.readline().startswith(b"data: {")
        for path in (CHAT, COMPLETIONS):
            reply = caller.ask(path, BODIES[path])
            assert checked(reply, 429, "overloaded")["type"] == "rate_limit_error"
            assert int(reply.headers["Retry-After"]) >= 1
        assert caller.ask("/health").status == 200


def test_S56_more_prompts_than_the_engine_ever_takes_are_no_overload(small: ServeCommand) -> None:
    """To come again would not help."""
    reply = Caller(small.url).ask(COMPLETIONS, {"prompt": ["a"] * 3, "max_tokens": 1})
    assert (
        "At most 2 prompts in one call"
        in checked(reply, 400, "too_many_prompts", "prompt")["message"]
    )
    assert Caller(small.url).ask(COMPLETIONS, {"prompt": ["a"] * 2, "max_tokens": 1}).status == 200


def test_S56_a_body_that_is_too_large_is_413(small: ServeCommand) -> None:
    body = {"messages": [{"role": "user", "content": "x" * (1 << 20)}]}
    assert "1 MiB" in checked(Caller(small.url).ask(CHAT, body), 413, "body_too_large")["message"]


def test_S54_S56_an_error_inside_a_stream_is_an_event_and_a_server_that_ends_is_503(
    small: ServeCommand,
) -> None:
    host, port = small.url.removeprefix("http://").split(":")
    kept = HTTPConnection(host, int(port), timeout=30)
    kept.request("GET", "/health")
    assert kept.getresponse().read() == b'{"status":"ready"}'
    with Caller(small.url).streaming(
        CHAT, {"messages": HELLO, "max_tokens": 4000, "ignore_eos": True}
    ) as stream:
        begin = stream.readline()
        small.process.send_signal(signal.SIGTERM)
        while True:
            kept.request(
                "POST", CHAT, json.dumps(BODIES[CHAT]), {"Content-Type": "application/json"}
            )
            answer = kept.getresponse()
            body = json.loads(answer.read())
            if answer.status != 200:
                break
        checked(Reply(answer.status, body, {}), 503, "shutting_down")
        assert int(answer.headers["Retry-After"]) >= 1
        raw = begin + stream.read()
    *events, event, done, end = raw.split(b"\n\n")
    assert all(re.fullmatch(rb"data: \{[^\n]*\}", one) for one in events)
    assert len(events) > 1
    found = re.fullmatch(rb"event: error\ndata: (\{[^\n]*\})", event)
    assert found is not None
    error = checked(Reply(503, json.loads(found[1]), {}), 503, "shutting_down")
    assert error["type"] == "service_unavailable_error"
    assert (done, end) == (b"data: [DONE]", b"")
    kept.close()
    assert small.wait() == 0


def test_S56_another_tenant_learns_nothing_from_an_error(server: Server) -> None:
    part = {
        "type": "image_url",
        "image_url": {"url": data_url("image/png", png(picture(9)))},
        "uuid": "mine",
    }
    assert (
        server.ask(
            CHAT, {"messages": [{"role": "user", "content": [part]}], "max_tokens": 1}, key=ALICE
        ).status
        == 200
    )
    skipped = [
        {"role": "user", "content": [{"type": "image_url", "image_url": None, "uuid": "mine"}]}
    ]
    unknown = [
        {"role": "user", "content": [{"type": "image_url", "image_url": None, "uuid": "nobodys"}]}
    ]
    other, nobody = (
        server.ask(CHAT, {"messages": asked, "max_tokens": 1}, key=BOB)
        for asked in (skipped, unknown)
    )
    assert (other.status, other.body) == (nobody.status, nobody.body)
