"""S41's command and paths, and S42's chat templates."""

import json
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from thespis import LLM
from thespis.frontends.cli.bench.serve import measure
from thespis.frontends.cli.main import build_parser
from thespis.frontends.engine import start_engine
from thespis.protocol.chat_templates import source as template_source
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.errors import EngineError

from ..helpers.checkpoints import Checkpoints
from ..helpers.commands import ServeCommand, refused_start
from ..helpers.engines import ROLES, cast_of
from ..helpers.facts import facts_of
from ..helpers.media import data_url, picture, png
from ..helpers.serving import Caller, Server, served
from .faces import ALICE, BOB, Face, ask, refusal

pytestmark = pytest.mark.process

MINE = (
    "{% for tool in tools or [] %}({{ tool.function.name }}){% endfor %}"
    "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}{{ "
    "'[answer]' }}"
)
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
GUARDED = ("/v1/models", "/v1/models/tiny", "/server_info")
PATHS = (*GUARDED, "/version", "/metrics", "/load", "/ping")
CALLS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HELLO, "max_tokens": 2},
    "/v1/completions": {"prompt": "hello", "max_tokens": 2},
    "/tokenize": {"prompt": "hello"},
    "/detokenize": {"tokens": [104, 105]},
}


@pytest.fixture(scope="module")
def command(
    checkpoints: Checkpoints, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeCommand]:
    """`thespis serve MODEL` with S41's flags, and a template in a file."""
    template = tmp_path_factory.mktemp("template") / "mine.jinja"
    template.write_text(MINE)
    folder = str(checkpoints("qwen_omni"))
    flags = (
        "--host",
        "127.0.0.1",
        "--api-key",
        "one",
        "--api-key",
        "two",
        "--served-model-name",
        "mine",
        "--max-model-len",
        "512",
    )
    started = ServeCommand(folder, *flags, "--chat-template", str(template))
    yield started
    assert started.end() == 0


@pytest.fixture
def called(command: ServeCommand) -> Caller:
    return Caller(command.url, "one")


# S41


def test_S41_the_command_serves_a_folder_under_its_name(
    command: ServeCommand, called: Caller
) -> None:
    assert command.announcement.startswith(f"mine is served at {command.url}/v1")
    assert command.url.startswith("http://127.0.0.1:")
    (card,) = called.ask("/v1/models").body["data"]
    assert (card["id"], card["object"], card["owned_by"], card["max_model_len"]) == (
        "mine",
        "model",
        "thespis",
        512,
    )
    assert card["dtype"] == "float32", "what the bundled model's weights are stored as"
    answer = called.chat("hello", model="mine").body
    assert answer["model"] == "mine"
    assert called.chat("hello", model="another").status == 404


def test_S41_the_command_asks_for_one_of_its_keys(command: ServeCommand, called: Caller) -> None:
    stranger = Caller(command.url)
    for key in (None, "three", "onetwo"):
        for path, body in {**dict.fromkeys(GUARDED), **CALLS}.items():
            reply = stranger.ask(path, body, key=key)
            assert (reply.status, reply.body["error"]["code"]) == (401, "invalid_api_key")
            assert reply.headers["WWW-Authenticate"] == "Bearer"
    for path in ("/health", "/live", "/ping", "/metrics", "/load", "/version"):
        assert stranger.ask(path).status == 200
    assert called.ask("/v1/models", key="two").status == 200


def test_S41_every_path_answers(server: Server) -> None:
    for key in (ALICE, BOB):
        for path, body in {**dict.fromkeys(PATHS), **CALLS}.items():
            assert server.ask(path, body, key=key).status == 200, path
    assert server.ask("/health").body == {"status": "ready"}
    assert server.ask("/version").body == {"version": version("thespis")}
    ready = r"^thespis_ready\{[^}]*\} 1\.0$"
    assert re.search(ready, str(server.ask("/metrics").body), re.MULTILINE)
    assert server.ask("/v1/models/tiny").body["id"] == "tiny"


@pytest.mark.parametrize(
    "text", ["hello", "Grüße, 世界 \U0001f600\n\ttab", "<|im_start|>user\nx<|im_end|>", " "]
)
def test_S41_tokenize_and_detokenize_are_each_others_inverse(server: Server, text: str) -> None:
    there = server.ask("/tokenize", {"prompt": text}).body
    assert there["count"] == len(there["tokens"])
    assert there["max_model_len"] == 1024
    assert server.ask("/detokenize", {"tokens": there["tokens"]}).body == {"prompt": text}


def test_S41_tokenize_of_a_chat_gives_what_the_chat_itself_gets(called: Caller) -> None:
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
    }
    for more in ({}, {"add_generation_prompt": False}, {"tools": [tool]}):
        found = called.ask("/tokenize", {"messages": HELLO, **more}).body
        asked = {"messages": HELLO, "max_tokens": 1, "return_token_ids": True, **more}
        answer = called.ask("/v1/chat/completions", asked).body
        assert found["tokens"] == answer["prompt_token_ids"]
        assert (
            called.ask("/detokenize", {"tokens": found["tokens"]}).body["prompt"] == found["prompt"]
        )
        assert ("(f)" in found["prompt"]) == ("tools" in more)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_S41_an_answer_is_the_same_streamed_and_not(server: Server, path: str) -> None:
    body = {**CALLS[path], "temperature": 0, "max_tokens": 12}
    (whole,) = server.ask(path, body).body["choices"]
    events = [
        json.loads(event[6:])
        for event in server.stream(path, body).split(b"\n\n")
        if event.startswith(b"data: {")
    ]
    choices = [choice for event in events for choice in event["choices"]]
    if path == "/v1/completions":
        assert "".join(choice["text"] for choice in choices) == whole["text"]
    else:
        assert (
            "".join(choice["delta"].get("content") or "" for choice in choices)
            == whole["message"]["content"]
        )
    assert choices[-1]["finish_reason"] == whole["finish_reason"]


async def test_bench_counts_every_token(server: Server) -> None:
    flags = f"--base-url={server.url} --api-key={ALICE} --streams=1,4 --max-tokens=16 --requests=4"
    levels = await measure(
        build_parser("bench").parse_args(["bench", "serve", "--json", *flags.split()])
    )
    assert [level.tokens for level in levels] == [64, 64]
    assert [level.prompt_tokens for level in levels] == [4 * 32, 4 * 32]


# S42


def test_S42_the_operators_file_goes_before_the_checkpoints_own(called: Caller) -> None:
    assert called.ask("/tokenize", {"messages": HELLO}).body["prompt"] == "[user]hello[answer]"
    url = data_url("image/png", png(picture(1)))
    answer = called.chat(
        [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}]
    )
    assert answer.status == 200
    assert answer.body["usage"]["prompt_tokens_details"]["image_tokens"] > 0


LIGHT = {role: "plain" for role in (*ROLES, "decode-worker-0") if role != "preprocessor"}
"""Only what renders is real: these engines start at once."""


def test_S42_a_model_without_a_template_of_its_own_is_served_with_the_built_in_one(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """All the places of a template, in their order: protocol/chat_templates/test_source.py."""
    with served(without_template(checkpoints, tmp_path), modules=LIGHT) as server:
        assert server.ask("/tokenize", {"messages": HELLO}).body["prompt"] == (
            "<|im_start|>system\nYou are a helpful "
            "assistant.<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n"
            "<|im_start|>assistant\n"
        )


def without_template(checkpoints: Checkpoints, tmp_path: Path) -> Path:
    folder = shutil.copytree(checkpoints("qwen_omni"), tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    return folder


def test_S42_what_is_no_template_is_an_error_at_start() -> None:
    said = refused_start("--port", "0", "--chat-template", "./chatml")
    assert "'./chatml'" in said
    assert "chatml" in said  # the names that there are
    for value in ("no/such/file.jinja", "./chatml", "template.txt", "words"):
        with pytest.raises(
            EngineError, match=f"'{value}'.*neither a file|neither a file.*'{value}'"
        ):
            LLM(chat_template=value)


def test_S42_a_model_without_any_is_not_served_and_is_told_how_to_give_one(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = without_template(checkpoints, tmp_path)
    monkeypatch.setattr(template_source, "BUILT_IN_OF", {})  # as for a type that has none
    with pytest.raises(EngineError, match="give one with --chat-template"), served(folder):
        pass
    engine = start_engine(  # completions need none
        EngineConfig(model=str(folder)),
        cast=cast_of(LIGHT, facts_of(folder)),
    )
    with (
        engine,
        LLM(run_dir=engine.run_dir) as llm,
        pytest.raises(ValueError, match="no chat template: give one"),
    ):
        llm.chat(HELLO, use_tqdm=False)


def test_S42_a_template_of_one_call(face: Face, tmp_path: Path) -> None:
    """Over HTTP it is another's program: S43."""
    (tmp_path / "mine.jinja").write_text(MINE)
    if face.name == "http":
        assert (
            "--trust-request-chat-template" in refusal(face, "hello", chat_template="chatml").text
        )
        return
    file, literal, named, plain = (
        ask(face, "hello", chat_template=template).prompt_token_ids
        for template in (str(tmp_path / "mine.jinja"), MINE, "chatml", None)
    )
    assert file == literal != named
    assert named == plain  # what the model's own writes of a conversation of texts
    assert "neither a file" in refusal(face, "hello", chat_template="./chatml").text
