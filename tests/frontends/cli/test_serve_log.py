"""What `thespis serve` says from its start to its end, as an operator reads it: over https, from a
file of settings, as JSON."""

import json
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ...helpers.certificates import make_certificate, needs_openssl
from ...helpers.commands import ServeCommand
from ...helpers.logs import events, said_twice

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]
CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}


def ask(url: str, context: ssl.SSLContext | None = None) -> dict[str, Any]:
    head = {"Content-Type": "application/json", "X-Request-Id": "mine"}
    data = json.dumps(CHAT).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", data, head)
    with urllib.request.urlopen(request, timeout=30, context=context) as answer:
        assert answer.headers["X-Request-Id"] == "mine"
        return json.load(answer)  # type: ignore[no-any-return]


@needs_openssl
def test_a_whole_life_in_json(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"log-format: json\nssl-certfile: {certificate}\nssl-keyfile: {key}\n")
    command = ServeCommand("--config", str(settings), "--max-num-seqs", "8", torchless=True)
    try:
        assert command.url.startswith("https://")
        answer = ask(command.url, ssl.create_default_context(cafile=str(certificate)))
    finally:
        code = command.end()
    assert code == 0
    lines = [json.loads(line) for line in command.log.splitlines()]
    assert all({"time", "level", "role", "event"} <= line.keys() for line in lines)
    assert not [line for line in lines if line["level"] != "info"], "a wanted stop is no warning"
    (told,) = (line for line in lines if line.get("path"))
    assert (told["id"], told["status"], told["role"]) == ("mine", 200, "http")
    assert told["output_tokens"] == answer["usage"]["completion_tokens"]
    assert 0 < told["ttft"] <= told["duration"]
    said = [line["event"] for line in lines]
    assert said[0].startswith("loading ")
    assert any(text.startswith("the model is ") for text in said)
    assert any(command.url in text for text in said if text.startswith("every process is ready"))


def test_a_whole_life_in_text() -> None:
    command = ServeCommand("--no-access-log", torchless=True)
    try:
        ask(command.url)
    finally:
        code = command.end()
    assert code == 0
    lines = events(command.log)
    assert len(lines) == len(command.log.splitlines())
    assert {level for _, level, *_ in lines} == {"INFO"}
    assert said_twice(command.log) == []
    assert "/v1/chat" not in command.log


def test_errors_alone_where_the_operator_wants_no_more() -> None:
    command = ServeCommand("--log-level", "error", torchless=True)
    try:
        ask(command.url)
    finally:
        code = command.end()
    assert (code, command.log) == (0, "")
