"""What is wrong with a request ends that request, with a status and a text for its author; the
processes do not notice."""

import base64
import io
import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from thespis import LLM
from thespis.protocol.errors import EngineError

from ..helpers.checkpoints import Checkpoints
from ..helpers.engines import Spectator
from ..helpers.facts import facts_of
from ..helpers.media import clip, data_url, picture, png, sound, wav
from ..helpers.serving import Reply, Server

pytestmark = pytest.mark.process

CONTEXT = 1024
"""Of the shared engine."""


def pids(server: Server) -> dict[str, int]:
    with Spectator(server.run_dir) as looker:
        return {
            role: pid for role, pid in looker.status().pids.items() if not role.startswith("client")
        }


@pytest.fixture(autouse=True)
def the_engine_does_not_notice(request: pytest.FixtureRequest) -> Iterator[None]:
    """Around each test with a server: the same processes, and they still answer."""
    if "server" not in request.fixturenames:
        yield
        return
    server: Server = request.getfixturevalue("server")
    before = pids(server)
    assert set(before) >= {
        "fetcher",
        "preprocessor",
        "decode-worker-0",
        "encoder-cache",
        "scheduler",
        "gpu-runner",
        "detokenizer",
    }
    yield
    good = server.chat(
        [{"type": "image_url", "image_url": {"url": data_url("image/png", png(picture(1)))}}]
    )
    assert good.status == 200, good.body
    assert pids(server) == before


def refusal(reply: Reply, *statuses: int) -> dict[str, Any]:
    """OpenAI's error object."""
    assert reply.status in statuses, reply
    error: dict[str, Any] = reply.body["error"]
    return error


def image(content: bytes, kind: str = "image/png") -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": data_url(kind, content)}},
    ]


def broken_pictures() -> dict[str, bytes]:
    whole = png(picture(2, 300, 300))
    huge = bytearray(whole)
    huge[16:24] = (60_000).to_bytes(4, "big") * 2  # the header's width and height ...
    huge[29:33] = zlib.crc32(huge[12:29]).to_bytes(4, "big")  # ... under a right checksum
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="56" height="56"/>'
    return {
        "empty": b"",
        "text": b"this is no picture",
        "cut": whole[: len(whole) // 2],
        "huge": bytes(huge),
        "svg": svg,
    }


@pytest.mark.parametrize("name", sorted(broken_pictures()))
def test_a_picture_that_is_none(server: Server, name: str) -> None:
    error = refusal(server.chat(image(broken_pictures()[name])), 400, 413, 422)
    assert error["param"] == "messages[0].content[1]"


def test_a_picture_where_a_sound_should_be(server: Server) -> None:
    sound_part = {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(png(picture(1))).decode(), "format": "wav"},
    }
    assert refusal(server.chat([sound_part]), 400, 422)["param"] == "messages[0].content[0]"


def test_a_clip_that_ends_in_the_middle(server: Server) -> None:
    part = {"type": "video_url", "video_url": {"url": data_url("video/mp4", clip(1)[:700])}}
    assert refusal(server.chat([part]), 400, 422)["param"] == "messages[0].content[0]"


def test_base64_that_is_none(server: Server) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,@@@"}}
    assert refusal(server.chat([part]), 400, 422)["param"].startswith("messages[0].content[0]")


def test_only_the_bad_request_of_a_pair_fails(server: Server) -> None:
    message = [
        {
            "type": "input_audio",
            "input_audio": {"data": base64.b64encode(wav(sound(1))).decode(), "format": "wav"},
        }
    ]
    refusal(server.chat(image(b"nothing")), 400, 422)
    assert server.chat(message).status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long(server: Server, stream: bool) -> None:
    error = refusal(server.chat("x" * (CONTEXT + 1), stream=stream), 400)
    assert error["code"] == "context_length_exceeded"
    assert str(CONTEXT) in error["message"]


def test_an_unknown_model_name(server: Server) -> None:
    error = refusal(server.chat("hi", model="another"), 404)
    assert "tiny" in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": [{"role": "user"}]},
        {"messages": "hello"},
        {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]},
        {"messages": [{"role": "user", "content": "hi"}], "temperature": -1},
        {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 0},
        {"messages": [{"role": "user", "content": "hi"}], "n": "many"},
    ],
)
def test_a_body_that_is_not_as_it_should_be(server: Server, body: dict[str, Any]) -> None:
    assert refusal(server.ask("/v1/chat/completions", body), 400, 422)["message"]


# checkpoints


def test_a_model_path_that_is_not_there() -> None:
    with pytest.raises(EngineError, match="No model at '/nowhere/at/all'"):
        LLM("/nowhere/at/all")


def test_an_option_that_there_is_not() -> None:
    with pytest.raises(TypeError, match="max_model_length"):
        LLM(max_model_length=3)


def _cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def _garble_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"PK\x03\x04 not weights at all" * 100)


def _drop_a_tensor(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["language_model.model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _break_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llava", ')


def _be_of_another_type(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "telepathy"}))


def _break_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')


@pytest.mark.parametrize(
    ("damage", "says", "load"),
    [
        # what anybody sees who looks at the folder: no process is started
        (_cut_weights, "model.safetensors", LLM),
        (_garble_weights, "safetensors", LLM),
        (_break_config, "config.json", LLM),
        # what a process of the engine finds, and the caller is told
        (_drop_a_tensor, "up_proj", LLM),
        # what that process finds in the same way
        (_be_of_another_type, "telepathy", facts_of),
        (_break_tokenizer, "tokenizer", facts_of),
    ],
)
def test_a_broken_checkpoint(
    damage: Callable[[Path], None],
    says: str,
    load: Callable[[str], object],
    checkpoints: Checkpoints,
    tmp_path: Path,
) -> None:
    folder = shutil.copytree(checkpoints("llava"), tmp_path / "broken")
    damage(folder)
    with pytest.raises(EngineError, match=says) as caught:
        load(str(folder))
    assert "Traceback" not in str(caught.value)


def test_the_huge_picture_of_these_tests_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test of it would pass for another reason."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with Image.open(io.BytesIO(broken_pictures()["huge"])) as opened:
        assert opened.size == (60_000, 60_000)
