"""Where the time of a request went: in its answer, afterwards by its id, in metrics, as spans, and
in a file."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from thespis import LLM, SamplingParams

from ..frontends.openai.traces.test_otlp import PARENT, TRACE, Came, receiver
from ..helpers.checkpoints import Checkpoints
from ..helpers.engines import processes_of
from ..helpers.media import clip, data_url, picture, png, sound, wav
from ..helpers.serving import Server, served
from .faces import ALICE, BOB

pytestmark = pytest.mark.process
STAGES = {"decode_media", "preprocess", "queue", "encode", "prefill", "decode"}


def mixed(seed: int) -> list[dict[str, Any]]:
    """A picture, a clip and a sound that nobody else sends."""
    voice = base64.b64encode(wav(sound(seed, 0.6))).decode()
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": data_url("image/png", png(picture(seed)))}},
        {"type": "video_url", "video_url": {"url": data_url("video/mp4", clip(seed, 4))}},
        {"type": "input_audio", "input_audio": {"data": voice, "format": "wav"}},
        {"type": "text", "text": "What is that?"},
    ]
    return [{"role": "user", "content": parts}]


def check(timeline: dict[str, Any], hits: list[str | None]) -> None:
    stages = {stage["name"]: stage for stage in timeline["stages"]}
    assert [stage["start"] for stage in timeline["stages"]] == sorted(
        stage["start"] for stage in timeline["stages"]
    )
    for stage in stages.values():
        assert stage["start"] >= 0
        assert stage["seconds"] >= 0

    def end(name: str) -> float:
        return float(stages[name]["start"] + stages[name]["seconds"])

    assert end("queue") == pytest.approx(stages["prefill"]["start"], abs=1e-5)
    assert end("prefill") == pytest.approx(stages["decode"]["start"], abs=1e-5)
    assert [item["kind"] for item in timeline["items"]] == ["image", "video", "audio"]
    assert [(item["message"], item["part"]) for item in timeline["items"]] == (
        [(0, 0), (0, 1), (0, 2)]
    )
    assert [item["hit"] for item in timeline["items"]] == hits
    for item in timeline["items"]:
        names = [stage["name"] for stage in item["stages"]]
        assert names == ([] if item["hit"] else ["decode", "encode"])
        assert item["bytes"] > 100


def test_in_the_answer_by_its_id_and_in_a_stream(server: Server) -> None:
    body = {"messages": mixed(41), "max_tokens": 4, "timeline": True, "request_id": "my-own"}
    answer = server.ask("/v1/chat/completions", body)
    assert answer.status == 200, answer.body
    timeline = answer.body["timeline"]
    assert {stage["name"] for stage in timeline["stages"]} >= STAGES
    check(timeline, [None, None, None])
    later = server.ask("/v1/requests/my-own/timeline")
    assert later.status == 200
    assert (later.body["stages"], later.body["items"]) == (timeline["stages"], timeline["items"])
    last = timeline["stages"][-1]
    assert later.body["seconds"] >= last["start"] + last["seconds"]
    assert later.body["error"] is None
    usage = answer.body["usage"]
    assert later.body["prompt_tokens"] == usage["prompt_tokens"]
    assert later.body["completion_tokens"] == usage["completion_tokens"]
    for path, key in (("my-own", BOB), ("nobodys", ALICE)):
        refused = server.ask(f"/v1/requests/{path}/timeline", key=key)
        assert (refused.status, refused.body["error"]["code"]) == (404, "unknown_request")
    events = server.stream("/v1/chat/completions", body).decode().split("\n\n")
    chunks = [json.loads(event[6:]) for event in events if event.startswith("data: {")]
    check(chunks[-1]["timeline"], ["embedding"] * 3)
    assert all("timeline" not in chunk for chunk in chunks[:-1])
    plain = server.ask("/v1/chat/completions", {**body, "timeline": False})
    assert "timeline" not in plain.body
    metrics = server.ask("/metrics").body
    for stage in STAGES:
        assert re.search(rf'thespis_stage_seconds_count{{[^}}]*stage="{stage}"}} [1-9]', metrics), (
            stage
        )


def test_offline_too(llm: LLM) -> None:
    (output,) = llm.chat(mixed(42), SamplingParams(temperature=0.0, max_tokens=3), use_tqdm=False)
    timeline = output.metrics.timeline
    assert {stage.name for stage in timeline.stages} >= STAGES
    assert [item.kind for item in timeline.items] == ["image", "video", "audio"]
    assert all(stage.start >= 0 for stage in timeline.stages)


def test_a_fetched_item_has_its_fetch(ruled: Server) -> None:
    from .web import Site, part

    with Site() as site:
        content = [part(site.url("/picture-2.png", "127.0.0.1")), {"type": "text", "text": "What?"}]
        answer = ruled.chat(content, timeline=True).body
    (item,) = answer["timeline"]["items"]
    assert item["stages"][0]["name"] == "fetch"
    assert answer["timeline"]["stages"][0]["name"] == "fetch"


@pytest.fixture(scope="module")
def traced(
    checkpoints: Checkpoints, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Path, list[Came]]]:
    path = tmp_path_factory.mktemp("traces") / "trace.json"
    with receiver() as (url, came), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20se5ame")
        server = {"otlp_endpoint": url, "trace_out": str(path)}
        with served(checkpoints("qwen_omni"), server=server, dtype="float32") as running:
            yield running, path, came


def test_spans_and_the_file_tell_the_same(
    traced: tuple[Server, Path, list[Came]],
) -> None:
    import http.client
    import time

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    server, path, came = traced
    host = server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    body = json.dumps({"messages": mixed(43), "max_tokens": 3, "timeline": True})
    head = {"Content-Type": "application/json", "traceparent": f"00-{TRACE}-{PARENT}-01"}
    connection.request("POST", "/v1/chat/completions", body, head)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    end = time.monotonic() + 15
    while not came and time.monotonic() < end:  # OpenTelemetry sends every five seconds
        time.sleep(0.1)
    spans = [
        span
        for sent in came
        for resource in ExportTraceServiceRequest.FromString(sent.body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert {sent.authorization for sent in came} == {"Bearer se5ame"}
    for pid in processes_of(server.engine.process.pid):
        assert b"se5ame" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert "se5ame" not in json.dumps(server.ask("/server_info").body)
    (root,) = [span for span in spans if span.parent_span_id.hex() == PARENT]
    assert root.trace_id.hex() == TRACE
    children = {span.name: span for span in spans if span.parent_span_id == root.span_id}
    for stage in answer["timeline"]["stages"]:
        span = children[stage["name"]]
        start = (span.start_time_unix_nano - root.start_time_unix_nano) / 1e9
        assert start == pytest.approx(stage["start"], abs=1e-4)
    assert {"image", "video", "audio"} <= children.keys()
    events = json.loads(path.read_bytes())
    named = {event["name"]: event for event in events if event["ph"] == "X" and event["tid"]}
    for stage in answer["timeline"]["stages"]:
        assert stage["name"] in named


def test_nothing_of_opentelemetry_is_imported_where_it_is_off() -> None:
    program = (
        "import sys, thespis.frontends.openai.main\n"
        "print([name for name in sys.modules if 'opentelemetry' in name])"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout.strip() == "[]"
