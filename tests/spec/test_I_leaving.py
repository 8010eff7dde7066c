"""S55: a caller of the server who goes away. All stages and other ways of going:
reliability/test_cancellation.py."""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from thespis import LLM
from thespis.scripts.stress.holding import held

from ..helpers.media import clip, data_url, picture, png
from ..helpers.serving import Server
from .faces import ALICE

pytestmark = pytest.mark.process
Stats = Mapping[str, Mapping[str, float]]

PICTURE = {"type": "image_url", "image_url": {"url": data_url("image/png", png(picture(5501)))}}
CLIP = {"type": "video_url", "video_url": {"url": data_url("video/mp4", clip(5502, 64, 512, 512))}}
STAGES: dict[str, tuple[dict[str, Any], Callable[[Stats], bool]]] = {
    "while it is decoded": (CLIP, lambda stats: stats["preprocessor"]["decodes_running"] > 0),
    "while it is answered": (PICTURE, lambda stats: stats["scheduler"]["running"] > 0),
}


def wait(llm: LLM, wanted: Callable[[Stats], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not wanted(stats := llm.status().stats):
        assert time.monotonic() < deadline, held(stats)
        time.sleep(0.01)


@pytest.mark.parametrize("stage", STAGES)
def test_S55_a_client_that_goes_away_frees_everything(server: Server, llm: LLM, stage: str) -> None:
    part, reached = STAGES[stage]
    before = llm.status().stats
    assert not held(before)
    content = [part, {"type": "text", "text": "what?"}]
    body = {
        "messages": [{"role": "user", "content": content}],
        "n": 2,
        "max_tokens": 900,
        "ignore_eos": True,
        "stream": True,
    }
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {ALICE}"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    wait(llm, lambda stats: "preprocessor" in stats and reached(stats), 20)
    connection.close()
    wait(llm, lambda stats: not held(stats), 8)
    after = llm.status().stats
    assert after["detokenizer"]["finished"] == before["detokenizer"]["finished"], (
        "it was cut, not finished"
    )
