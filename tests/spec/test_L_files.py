"""Uploaded files and batches, by the official client, over engines that run."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from thespis.actors.encoder_cache.disk.pin_file import decode_mark

from ..helpers.checkpoints import Checkpoints
from ..helpers.media import data_url, picture, png
from ..helpers.serving import Server, served
from ..helpers.torchless import TORCHLESS
from .faces import ALICE, BOB

pytestmark = pytest.mark.process


def connect(server: Server, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=5)


def asked(server: Server, url: dict[str, str], key: str = ALICE) -> Any:
    content = [{"type": "image_url", "image_url": url}, {"type": "text", "text": "What is it?"}]
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": 6, "temperature": 0}
    return server.ask("/v1/chat/completions", body, key=key)


def test_S63_a_file_stands_for_its_bytes_and_is_its_tenants(server: Server) -> None:
    content = png(picture(6301, 84, 56))
    with connect(server, ALICE) as api:
        id = api.files.create(file=("x.png", content), purpose="vision").id
        by_id = asked(server, {"file_id": id})
        by_data = asked(server, {"url": data_url("image/png", content)})
        assert by_id.status == by_data.status == 200
        told = [reply.body["choices"][0]["message"]["content"] for reply in (by_id, by_data)]
        assert told[0] == told[1]
        tokens = [
            reply.body["usage"]["prompt_tokens_details"]["cached_tokens"]
            for reply in (by_id, by_data)
        ]
        assert tokens[0] < tokens[1], "the same bytes are the same picture, however they come"
        assert asked(server, {"file_id": id}, BOB).status == 404
        assert api.files.delete(id).deleted
        assert asked(server, {"file_id": id}).status == 404


def test_S63_what_is_pinned_stays_on_disk_until_its_file_goes(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    disk: dict[str, Any] = {"encoder_cache_dir": str(kept), "encoder_cache_dir_gb": 1e-4}
    with (
        served(
            checkpoints("qwen_omni"), server={"data_folder": str(tmp_path / "data")}, **disk
        ) as server,
        connect(server) as api,
    ):

        def upload(seed: int, **how: bool) -> dict[str, Any]:
            file = ("x.png", png(picture(seed, 56, 56)))
            made = api.files.create(file=file, purpose="vision", extra_body=how).model_dump()
            assert made["warm"] == {"done": True}
            return made

        def items() -> set[str]:
            return {path.name for path in kept.rglob("*-*") if path.parent.name != "pins"}

        def pins() -> list[Path]:
            return list(kept.rglob("pins/*"))

        first, later = upload(6310, pin=True), upload(6311, warm=True)
        assert (first["pin"], first["pinned"], later["pinned"]) == ({"done": True}, True, False)
        pinned = _pinned(pins())
        for seed in range(6320, 6350):
            upload(seed, warm=True)
        assert pinned <= items()
        assert len(items()) <= 26, "blocks of the folder"
        # the disk has given up this one, memory has not
        told: Any = api.post(f"/files/{later['id']}/pin", cast_to=object)
        assert told["pinned"] is True
        assert _pinned(pins()) <= items()
        assert len(_pinned(pins())) == 2
        assert api.files.delete(first["id"]).deleted
        assert _pinned(pins()).isdisjoint(pinned)


def _pinned(marks: list[Path]) -> set[str]:
    """Names of the items."""
    return {name for path in marks for name in decode_mark(path.read_bytes(), path.name).files}


def test_S71_a_batch_outlives_the_server_and_does_each_line_once(tmp_path: Path) -> None:
    lines = [
        {
            "custom_id": f"n{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"messages": [{"role": "user", "content": f"say {number}"}], "max_tokens": 40},
        }
        for number in range(200)
    ]
    data = "\n".join(map(json.dumps, lines)).encode()
    with (
        served("", modules=TORCHLESS, server={"data_folder": str(tmp_path / "data")}) as server,
        connect(server) as api,
    ):
        file = api.files.create(file=("in.jsonl", data), purpose="batch")
        batch = api.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        for done in (20, 80):
            while _done(batch := api.batches.retrieve(batch.id)) < done:
                time.sleep(0.01)
            os.kill(_http(server), signal.SIGKILL)
        while batch.status not in ("completed", "failed"):
            time.sleep(0.05)
            batch = api.batches.retrieve(batch.id)
        assert (batch.status, _done(batch)) == ("completed", 200)
        assert batch.output_file_id is not None
        rows = api.files.content(batch.output_file_id).text.splitlines()
        assert sorted(json.loads(row)["custom_id"] for row in rows) == sorted(
            str(line["custom_id"]) for line in lines
        )


def _done(batch: Any) -> int:
    return int(batch.request_counts.completed)


def _http(server: Server) -> int:
    family = psutil.Process(server.engine.process.pid).children(recursive=True)
    (one,) = [one for one in family if one.cmdline()[:1] == ["thespis http"]]
    return int(one.pid)
