"""Below a path of a proxy: what is guarded stays so, and nothing tells that path."""

import json
import re
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from thespis.frontends.openai.app import QUESTIONS, make_app
from thespis.frontends.openai.gate.auth import OPEN_PATHS, WATCHED_PATHS
from thespis.frontends.openai.live.handler import EVENTS
from thespis.frontends.openai.traces.chrome import begin
from thespis.protocol.config.server import OWN_SEGMENTS

from .fake import FakeClient, http_config, post, served

HELLO = {"messages": [{"role": "user", "content": "hi"}]}
CHAT = "/v1/chat/completions"


async def test_traces_do_not_tell_it(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    begin(file)
    async with served(FakeClient(), http_config(root_path="/llm", trace_out=str(file))) as url:
        assert (await post(url, f"/llm{CHAT}", HELLO))[0] == 200
    spans = [event["name"] for event in json.loads(file.read_bytes()) if event["ph"] == "X"]
    assert spans[0] == CHAT


async def test_every_first_segment_of_the_table_of_routes_is_refused() -> None:
    app = make_app(FakeClient(), http_config())  # type: ignore[arg-type]
    paths = {resource.canonical for resource in app.router.resources()}
    firsts = {path.split("/")[1] for path in paths} - {""}
    assert firsts == OWN_SEGMENTS
    for first in firsts:
        for root in (f"/{first}", f"/{first}/more"):
            with pytest.raises(ValueError, match=f"paths of its own below /{first}"):
                http_config(root_path=root)


@pytest.mark.parametrize("root", ["/v1x", "/llm", "/a/live", "/a/metrics"])
async def test_no_root_path_opens_what_is_guarded(root: str) -> None:
    config = http_config(root_path=root, api_key=("sesame",))
    guarded = {*QUESTIONS, EVENTS} - OPEN_PATHS - WATCHED_PATHS
    around = (
        "",
        root,
        2 * root,
        f"{root}/",
        f"{root}/.",
        f"{root}%2F",
        f"/%2e{root}",
        f"{root}/..",
    )
    async with served(FakeClient(), config) as url, aiohttp.ClientSession() as http:
        for path in [*guarded, "/playground/about"]:
            for below in around:
                asked = URL(url + below + re.sub("{.*?}", "x", path), encoded=True)
                async with http.get(asked) as response:
                    assert response.status == 401, asked
        async with http.get(f"{url}{root}/health") as response:
            assert response.status == 200
