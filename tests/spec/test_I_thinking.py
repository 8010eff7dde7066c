"""S73 on the real processes: a model whose template opens thinking, and whose marks are tokens."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from thespis.protocol.checkpoint.folder import demo_model

from ..helpers.engines import Spectator
from ..helpers.serving import Server, served

pytestmark = pytest.mark.process
MARKS = {"<|audio_bos|>": "<think>", "<|audio_eos|>": "</think>"}
"""Tokens of the model that become marks: no sound is heard here."""
OPENING = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    "{% if enable_thinking is not defined or enable_thinking %}<think>\n"
    "{% else %}<think>\n\n</think>\n\n{% endif %}"
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
ASKED: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Which colour?"}], "temperature": 1, "seed": 4,
    "return_token_ids": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("thinker") / "demo"
    shutil.copytree(demo_model(), folder)
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    for token in tokenizer["added_tokens"]:
        if token["content"] in MARKS:
            token |= {"content": MARKS[token["content"]], "special": False}
    file.write_text(json.dumps(tokenizer))
    template = folder / "thinking.jinja"
    template.write_text(OPENING)
    with served(folder, chat_template=str(template), served_model_name="thinker") as server:
        yield server


def ask(server: Server, **body: Any) -> dict[str, Any]:
    reply = server.ask("/v1/chat/completions", {**ASKED, **body})
    assert reply.status == 200, reply.body
    return {**reply.body["choices"][0], "usage": reply.body["usage"]}


def close_id() -> int:
    tokens = json.loads((Path(demo_model()) / "tokenizer.json").read_text())["added_tokens"]
    return int(next(one["id"] for one in tokens if one["content"] == "<|audio_eos|>"))


@pytest.mark.parametrize("budget", [0, 6])
def test_S73_a_budget_is_kept_to_the_token(thinker: Server, budget: int) -> None:
    answer = ask(thinker, thinking_token_budget=budget, max_tokens=24, ignore_eos=True)
    assert answer["token_ids"].index(close_id()) == budget
    assert answer["usage"]["completion_tokens_details"] == {"reasoning_tokens": budget}
    assert bool(answer["message"].get("reasoning_content")) == bool(budget)
    assert answer["message"]["content"]


def test_S73_a_format_binds_what_comes_behind_thinking(thinker: Server) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "c", "schema": SCHEMA}}
    for more in ({"thinking_token_budget": 8}, {"enable_thinking": False}):
        answer = ask(thinker, response_format=wanted, max_tokens=200, **more)
        jsonschema.validate(json.loads(answer["message"]["content"]), SCHEMA)
        assert ("reasoning_content" in answer["message"]) == ("enable_thinking" not in more)


@pytest.mark.parametrize("role", ["gpu-runner", "scheduler"])
def test_S73_a_budget_outlives_the_processes_that_keep_it(thinker: Server, role: str) -> None:
    body = {"thinking_token_budget": 60, "max_tokens": 120, "ignore_eos": True}
    whole = ask(thinker, **body)
    assert whole["token_ids"].index(close_id()) == 60
    ids, thought, killed = list[int](), "", 0
    with (
        Spectator(thinker.run_dir) as spectator,
        thinker.streaming("/v1/chat/completions", {**ASKED, **body}) as events,
    ):
        pid = spectator.status().pids[role]
        for line in events:
            if not line.startswith(b"data: {"):
                continue
            for choice in json.loads(line[6:])["choices"]:
                ids += choice.get("token_ids") or ()
                thought += choice["delta"].get("reasoning_content", "")
            if not killed and len(ids) > 10:
                os.kill(pid, signal.SIGKILL)
                killed = len(ids)
    assert killed < 60
    assert (ids, thought) == (whole["token_ids"], whole["message"]["reasoning_content"])
