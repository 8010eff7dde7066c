"""The door and the small paths: keys, sizes, statuses, metrics, callers who go away."""

import asyncio
import base64
import io
import json
import socket
from dataclasses import asdict
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from thespis.actors.scheduler.outbox import Tally
from thespis.frontends.openai.engine_metrics import COUNTS
from thespis.frontends.openai.gate.accepting import serve_on
from thespis.frontends.openai.gate.auth import Keys, tenant_of
from thespis.frontends.openai.metrics import Metrics
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.replicas import ReplicasConfig
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.config.settings import SETTINGS, without_none
from thespis.protocol.edges.control import Status
from thespis.protocol.errors import Failure
from thespis.protocol.requests.request import Encoded

from .fake import DEMO, FakeClient, http_config, post, served, stream_bytes

HELLO = {"messages": [{"role": "user", "content": "hi"}]}
CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}


async def get(url: str, path: str, **more: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}{path}", **more) as response:
        return response.status, await response.text()


def test_a_tenant_is_a_digest_that_stays_the_same() -> None:
    assert tenant_of("sesame") == tenant_of("sesame") != tenant_of("sesame2")
    assert "sesame" not in tenant_of("sesame")
    keys = Keys(("sesame", "other"))
    assert keys.tenant(["Bearer sesame"]) == tenant_of("sesame")
    assert [keys.tenant([header]) for header in ("", "sesame", "Basic sesame", "Bearer x")] == [
        None
    ] * 4
    assert Keys(()).tenant([]) == ""


async def test_keys_guard_everything_but_the_probes() -> None:
    async with served(FakeClient(), http_config(api_key=("sesame",))) as url:
        for path in ("/v1/models", "/server_info", "/nothing"):
            assert (await get(url, path))[0] == 401
        for path in ("/health", "/live", "/ping", "/metrics", "/load", "/version"):
            assert (await get(url, path))[0] == 200
        assert (await get(url, "/v1/models", headers={"Authorization": "Bearer sesame"}))[0] == 200


async def test_numbers_are_guarded_where_the_operator_says_so() -> None:
    async with served(FakeClient(), http_config(api_key=("sesame",), guard_metrics=True)) as url:
        for path in ("/metrics", "/load", "/version"):
            assert (await get(url, path))[0] == 401
            assert (await get(url, path, headers={"Authorization": "Bearer sesame"}))[0] == 200
        for path in ("/health", "/live", "/ping"):
            assert (await get(url, path))[0] == 200


async def test_how_busy_it_is_is_told_as_balancers_ask() -> None:
    client = FakeClient()
    client.pace = 3600.0
    async with served(client) as url:
        assert await get(url, "/load") == (200, '{"server_load":0}')
        asked = asyncio.create_task(post(url, CHAT, HELLO))
        while not client.submitted:
            await asyncio.sleep(0.01)
        assert await get(url, "/load") == (200, '{"server_load":1}')
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        async with asyncio.timeout(5):
            await client.cancel_seen.wait()


async def test_what_is_told_of_a_server_has_no_secrets_and_no_places() -> None:
    """Every text that may be any is marked, but for those that callers are told anyhow."""
    told_anyhow = {"host", "served_model_name", "revision", "root_path", "otlp_endpoint"}
    texts = {
        setting.name: setting.schema
        for setting in SETTINGS.values()
        if without_none(setting.kind) is str and setting.name not in told_anyhow
    }
    assert len(texts) > 5
    marked: dict[type[Any], dict[str, Any]] = {EngineConfig: {}, ServerConfig: {}}
    for name, schema in texts.items():
        marked[schema][name] = "/se5ame"
    engine = {**marked[EngineConfig], "max_num_seqs": 7}
    config = http_config(engine=engine, **marked[ServerConfig], api_key=("se5ame",))
    async with served(FakeClient(), config) as url:
        status, text = await get(url, "/server_info", headers={"Authorization": "Bearer se5ame"})
    assert status == 200
    told = json.loads(text)
    assert "se5ame" not in text
    assert str(DEMO) not in text
    assert (told["server"]["api_key"], told["engine"]["max_num_seqs"]) == (True, 7)
    assert (told["model"]["name"], told["model"]["context"]) == ("fake-model", 256)
    named = {name for part in ("server", "engine") for name in told[part]}
    assert named == {name for name, one in SETTINGS.items() if one.schema is not ReplicasConfig}


@pytest.mark.parametrize("root", ["", "/llm"])
async def test_below_a_path_of_a_proxy_it_is_the_same(root: str) -> None:
    config = http_config(root_path="/llm", api_key=("sesame",))
    key = {"Authorization": "Bearer sesame"}
    async with served(FakeClient(), config) as url:
        assert (await get(url, f"{root}/health"))[0] == 200
        assert (await get(url, f"{root}/v1/models"))[0] == 401
        assert (await get(url, f"{root}/v1/models/fake-model", headers=key))[0] == 200
        assert (await post(url, f"{root}{CHAT}", HELLO, headers=key))[0] == 200
        assert (await get(url, f"/llm{root}x/v1/models", headers=key))[0] == 404
        counted = await get(url, "/metrics")
    assert 'path="/v1/chat/completions"' in counted[1]
    assert "/llm" not in counted[1]


async def test_the_key_decides_the_tenant() -> None:
    client = FakeClient()
    async with served(client, http_config(api_key=("sesame",))) as url:
        await post(url, CHAT, HELLO, headers={"Authorization": "Bearer sesame"})
    assert client.submitted[0][3]["tenant"] == tenant_of("sesame")


async def test_health_is_503_until_the_engine_is_ready() -> None:
    client = FakeClient()
    client.ready = False
    async with served(client) as url:
        assert (await get(url, "/health"))[0] == 503
        assert (await get(url, "/live"))[0] == 200
        client.ready = True
        assert (await get(url, "/health"))[0] == 200


async def test_a_body_that_is_too_large_is_refused_before_and_while_reading() -> None:
    config = http_config(max_body_mb=0.001)
    big = b'{"messages":[{"role":"user","content":"' + b"x" * 5000 + b'"}]}'
    client = FakeClient()

    async def dripping() -> Any:
        yield big

    async with served(client, config) as url, aiohttp.ClientSession() as session:
        for data in (
            big,
            dripping(),
        ):
            async with session.post(f"{url}{CHAT}", data=data, headers=JSON) as response:
                assert response.status == 413
                assert (await response.json())["error"]["code"] == "body_too_large"
    assert client.submitted == []


@pytest.mark.parametrize(
    ("failure", "status", "retry"),
    [
        (Failure("overloaded", "Full."), 429, "1"),
        (Failure("restarted", "Again."), 503, "2"),
        (Failure("invalid_request", "No.", "prompt", "context_length_exceeded"), 400, None),
    ],
)
async def test_S56_a_refusal_has_its_status_and_says_when_to_come_back(
    failure: Failure, status: int, retry: str | None
) -> None:
    client = FakeClient()
    client.refusal = failure
    async with served(client) as url:
        found, body, headers = await post(url, CHAT, HELLO)
    assert (found, headers.get("Retry-After")) == (status, retry)
    assert body["error"]["code"] == (failure.code or failure.kind)


async def test_what_is_unforeseen_says_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    client = FakeClient()
    client.words = None  # type: ignore[assignment]
    client.submit = None  # type: ignore[method-assign, assignment]
    async with served(client) as url:
        status, body, _ = await post(url, CHAT, HELLO)
    assert (status, body["error"]["message"]) == (500, "Internal error.")
    assert "Traceback" in caplog.text


MEANT = {
    "/chat/completions": "POST /v1/chat/completions",
    "/v1/v1/chat/completions": "POST /v1/chat/completions",
    "/V1/Chat/Completions/": "POST /v1/chat/completions",
    "/v1/chat/completion": "POST /v1/chat/completions",
    "/embeddings": "POST /v1/embeddings",
    "/v1/file": "POST or GET /v1/files",
    "/v1/health": "GET /health",
    "/v1/chat/completions/mine": "POST /v1/chat/completions",
}


async def test_unknown_paths_and_methods_speak_json_too() -> None:
    async with served(FakeClient()) as url:
        status, text = await get(url, "/v1/nothing")
        assert (status, json.loads(text)["error"]["code"]) == (404, "unknown_path")
        assert "POST /v1/chat/completions, /v1/completions" in text
        assert "GET /v1/models, /health" in text
        assert "mean" not in text
        _, text = await get(url, "/v1/chat/completions/" + 99 * "mine")
        assert "mine" not in text
        for path, meant in MEANT.items():
            status, text = await get(url, path)
            assert (status, f"Did you mean {meant}?" in text) == (404, True)
        status, text = await get(url, CHAT)
        assert (status, json.loads(text)["error"]["code"]) == (405, "method_not_allowed")
        assert "it takes POST." in text


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 this is no HTTP\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
async def test_S56_what_is_no_http_is_answered_in_our_own_words(sent: bytes) -> None:
    async with served(FakeClient()) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(sent)
        async with asyncio.timeout(5):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"\r\nServer: thespis\r\n" in head
    assert json.loads(body)["error"]["code"] == "invalid_http"


@pytest.mark.parametrize("begun", [False, True])
async def test_S56_what_goes_wrong_outside_of_every_handler_is_500_or_cuts_an_answer_that_has_begun(
    begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(request: web.Request) -> web.StreamResponse:
        if begun:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"half an answer")
        raise RuntimeError("a secret")

    app = web.Application()
    app.add_routes([web.get("/", fail)])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        runner = await serve_on(app, listener)
        reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        await runner.cleanup()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"secret" not in answer
    if begun:
        assert b"half an answer" in answer
        assert not answer.endswith(b"0\r\n\r\n")
    else:
        assert b'"code":"internal_error"' in answer
        assert "a secret" in caplog.text


async def test_S56_requests_that_are_cut_at_shutdown_are_told() -> None:
    client = FakeClient()
    client.pace, client.words = 0.05, ["x"] * 10_000
    async with aiohttp.ClientSession() as session:
        async with served(client) as url:
            stream = await session.post(f"{url}{CHAT}", json={**HELLO, "stream": True})
            whole = asyncio.create_task(session.post(f"{url}{CHAT}", json=HELLO))
            while len(client.submitted) < 2:
                await asyncio.sleep(0.01)
        *_, event, done, end = (await stream.read()).split(b"\n\n")
        assert (done, end) == (b"data: [DONE]", b"")
        name, _, data = event.partition(b"\n")
        assert name == b"event: error"
        assert json.loads(data[6:])["error"]["code"] == "shutting_down"
        async with await whole as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "2")
            assert (await response.json())["error"]["code"] == "shutting_down"


async def test_S49_ignored_fields_are_named_in_a_header_and_once_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served(FakeClient()) as url:
        for _ in range(2):
            status, _, headers = await post(
                url, CHAT, {**HELLO, "service_tier": "flex", "store": True}
            )
    assert caplog.text.count("service_tier, store") == 1
    assert (status, headers["X-Thespis-Ignored-Fields"]) == (200, "service_tier, store")


async def test_media_bytes_reach_the_client_and_a_refused_request_leaves_none() -> None:
    client = FakeClient()
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,YWJj"}}
    body = {"messages": [{"role": "user", "content": [part, {"type": "text", "text": "what?"}]}]}
    async with served(client) as url:
        assert (await post(url, CHAT, body))[0] == 200
        bad = {"messages": [{"role": "user", "content": [part, {"type": "nothing"}]}]}
        status, answer, _ = await post(url, CHAT, bad)
    assert (status, answer["error"]["param"]) == (400, "messages[0].content[1].type")
    (item,) = client.submitted[0][1]
    assert isinstance(item.source, Encoded)
    assert list(client.blobs.values()) == [b"abc"]


async def test_bodies_that_fill_the_house_together_are_refused() -> None:
    arrived = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(size: int) -> Any:
        yield b" " * size
        arrived.set()
        await go_on.wait()
        yield json.dumps(HELLO).encode()

    async with (
        served(FakeClient(), http_config(max_body_mb=0.01)) as url,
        aiohttp.ClientSession() as session,
    ):
        first, second = (
            asyncio.create_task(session.post(url + CHAT, data=slow(9_000), headers=JSON))
            for _ in range(2)
        )
        await arrived.wait()
        await asyncio.sleep(0.1)
        async with session.post(url + CHAT, data=b" " * 9_000, headers=JSON) as third:
            assert third.status == 429
        go_on.set()
        for call in (first, second):
            async with await call as response:
                assert response.status == 200


async def test_a_large_picture_arrives_whole() -> None:
    client = FakeClient()
    data = bytes(range(256)) * 8192
    url_of_it = "data:image/png;base64," + base64.b64encode(data).decode()
    body = {"messages": [{"role": "user", "content": [{"image_url": url_of_it}]}]}
    sent = io.BytesIO(json.dumps(body).encode())
    async with (
        served(client) as url,
        aiohttp.ClientSession() as session,
        session.post(url + CHAT, data=sent, headers=JSON) as response,
    ):
        assert response.status == 200
    assert list(client.blobs.values()) == [data]


@pytest.mark.parametrize("stream", [True, False])
async def test_S55_a_caller_that_goes_away_cancels_its_request(stream: bool) -> None:
    client = FakeClient()
    client.pace = 5.0 if not stream else 0.05
    client.words = ["x"] * 1000
    async with served(client) as url:
        async with aiohttp.ClientSession() as session:
            call = asyncio.create_task(
                session.post(f"{url}{CHAT}", json={**HELLO, "stream": stream})
            )
            if stream:
                response = await call
                await response.content.readany()
                response.close()
            else:
                while not client.submitted:
                    await asyncio.sleep(0.01)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
        async with asyncio.timeout(20):
            await client.cancel_seen.wait()
    assert client.cancelled == ["r1"]


async def test_one_refused_prompt_of_several_cancels_the_others() -> None:
    client = FakeClient()
    client.pace = 1.0
    accept = client.submit

    async def once(*args: Any, **more: Any) -> Any:
        if client.submitted:
            client.refusal = Failure("overloaded", "Full.")
        return await accept(*args, **more)

    client.submit = once  # type: ignore[method-assign]
    async with served(client) as url:
        status, _, _ = await post(url, "/v1/completions", {"prompt": ["a", "b"]})
    assert (status, client.cancelled) == (429, ["r1"])


async def test_an_open_stream_is_finished_while_the_server_drains() -> None:
    client = FakeClient()
    client.pace = 0.05
    async with aiohttp.ClientSession() as session:
        async with served(client) as url:
            response = await session.post(f"{url}{CHAT}", json={**HELLO, "stream": True})
        assert (await response.read()).endswith(b"data: [DONE]\n\n")


async def test_whoever_asks_for_metrics_at_once_gets_one_answer() -> None:
    """Three hundred callers at once held the server's loop for two seconds, and asked every process
    of the engine as often."""
    client = FakeClient()
    client.pace = 0.3
    async with served(client) as url:
        first = await asyncio.gather(*(get(url, "/metrics") for _ in range(50)))
        assert client.asked == 1
        assert {status for status, _ in first} == {200}
        assert len({text for _, text in first}) == 1
        await get(url, "/metrics")
        assert client.asked == 2


async def test_metrics_have_our_histograms_and_the_actors_counters() -> None:
    async with served(FakeClient()) as url:
        await stream_bytes(url, CHAT, HELLO)
        status, text = await get(url, "/metrics")
    assert status == 200
    for line in (
        'thespis_requests_total{model_name="fake-model",path="/v1/chat/completions",'
        'status="200"} 1.0',
        'thespis_requests_in_flight{model_name="fake-model"} 0.0',
        'thespis_time_to_first_token_seconds_count{model_name="fake-model"} 1.0',
        'thespis_request_seconds_count{model_name="fake-model"} 1.0',
        'thespis_prompt_tokens_total{model_name="fake-model"} 3.0',
        'thespis_output_tokens_total{model_name="fake-model"} 5.0',
        'thespis_actor_steps_total{model_name="fake-model",role="gpu-runner"} 7.0',
        "# TYPE thespis_actor_steps_total counter",
        'thespis_restarts_total{model_name="fake-model",role="gpu-runner"} 2.0',
        'thespis_process_pid{model_name="fake-model",role="gpu-runner"} 1.0',
        'thespis_ready{model_name="fake-model"} 1.0',
    ):
        assert line in text


@pytest.mark.parametrize(("path", "asked"), [(CHAT, HELLO), ("/v1/completions", {"prompt": "x"})])
async def test_the_engine_is_told_whether_an_answer_is_read_as_it_comes(
    path: str, asked: dict[str, Any]
) -> None:
    client = FakeClient()
    async with served(client) as url, aiohttp.ClientSession(url) as session:
        for more in ({}, {"stream": None}, {"stream": False}, {"stream": True}):
            async with session.post(path, json={**asked, **more}) as response:
                assert response.status == 200
                await response.read()
    assert [more["streamed"] for *_, more in client.submitted] == [False, False, False, True]


def test_what_actors_count_is_a_counter_and_what_they_hold_a_gauge() -> None:
    grows = {name for name in asdict(Tally()) if not name.startswith("max_")}
    assert grows <= COUNTS
    status = Status(True, {}, {"scheduler": {"accepted_tokens": 3.0, "kv_blocks": 7.0}}, {}, {})
    said = Metrics("m").text(status).decode()
    name, labels = "thespis_actor_accepted_tokens_total", '{model_name="m",role="scheduler"}'
    assert f"# TYPE {name} counter\n{name}{labels} 3.0" in said
    name = "thespis_actor_kv_blocks"
    assert f"# TYPE {name} gauge\n{name}{labels} 7.0" in said


async def test_tokenize_and_detokenize() -> None:
    async with served(FakeClient()) as url:
        status, body, _ = await post(url, "/tokenize", {"prompt": "x"})
        assert (status, body["tokens"], body["count"], body["max_model_len"]) == (
            200,
            [5, 6, 7],
            3,
            256,
        )
        assert (await post(url, "/tokenize", {}))[0] == 400
        status, body, _ = await post(url, "/detokenize", {"tokens": [5]})
        assert status == 200
        assert len(body["prompt"]) >= 1
        assert (await post(url, "/detokenize", {"tokens": [300]}))[0] == 400


async def test_the_whole_stream_ends_with_done() -> None:
    async with served(FakeClient()) as url:
        body = await stream_bytes(url, "/v1/completions", {"prompt": "x"})
    assert body.endswith(b"data: [DONE]\n\n")
    assert b'"finish_reason":"stop"' in body


@pytest.mark.parametrize("path", [CHAT, "/tokenize"])
async def test_S43_a_template_in_the_request_needs_the_operators_word(path: str) -> None:
    asked = {**HELLO, "chat_template": "{{ messages[0].content }}"}
    client = FakeClient()
    async with served(client) as url:
        status, text = await _posted(url, path, asked)
        assert status == 400
        assert "--trust-request-chat-template" in text
    async with served(client, http_config(engine={"trust_request_chat_template": True})) as url:
        assert (await _posted(url, path, asked))[0] == 200


async def _posted(url: str, path: str, body: dict[str, Any]) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}{path}", json=body) as response,
    ):
        return response.status, await response.text()


async def test_an_unknown_model_is_named_and_which_is_served() -> None:
    async with served(FakeClient()) as url:
        for name, shown in (("gpt-4", "'gpt-4'"), ("\n" + "x" * 500, "'\\n" + "x" * 79 + "...'")):
            status, body, _ = await post(url, CHAT, {**HELLO, "model": name})
            assert (status, body["error"]["code"]) == (404, "model_not_found")
            text = f"model: There is no model {shown} here. The served model is `fake-model`."
            assert body["error"]["message"] == text
