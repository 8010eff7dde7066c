"""`thespis serve` as a user starts it: a real engine, its end, and what it says when it cannot
start."""

import asyncio
import base64
import io
import json
import os
import signal
import socket
import wave
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import openai
import pytest
from aiohttp import web
from PIL import Image

from thespis.frontends.cli.bench.serve import measure
from thespis.frontends.cli.main import build_parser
from thespis.frontends.openai.gate.accepting import serve_on

from ...helpers.commands import ServeCommand, refused_start

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server() -> Iterator[ServeCommand]:
    served = ServeCommand("--allow-private-media")
    yield served
    if served.process.poll() is None:
        assert served.end() == 0


def api(server: ServeCommand) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


async def post(server: ServeCommand, path: str, body: object) -> tuple[int, dict[str, object]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.url + path, json=body) as response,
    ):
        return response.status, await response.json()


async def metrics(server: ServeCommand) -> dict[str, float]:
    """By name with labels, as they are written."""
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    }


async def pids(server: ServeCommand) -> dict[str, int]:
    found = await metrics(server)
    return {
        name.split('"')[1]: int(pid)
        for name, pid in found.items()
        if name.startswith("thespis_process_pid{")
    }


def picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (56, 56), (200, 30, 30)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def sound() -> str:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(32000))
    return base64.b64encode(buffer.getvalue()).decode()


CONTENT = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": picture()}},
    {"type": "input_audio", "input_audio": {"data": sound(), "format": "wav"}},
]


@pytest.mark.process
async def test_the_official_client_gets_the_same_answer_streamed_and_not(
    server: ServeCommand,
) -> None:
    asked: dict[str, object] = {
        "model": "demo_model",
        "messages": [{"role": "user", "content": CONTENT}],
        "temperature": 0,
    }
    async with api(server) as client:
        whole = await client.chat.completions.create(**asked, max_tokens=8)  # type: ignore[call-overload]
        stream = await client.chat.completions.create(**asked, max_tokens=8, stream=True)  # type: ignore[call-overload]
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert whole.choices[0].message.content == text
    assert whole.usage.completion_tokens <= 8
    assert whole.usage.prompt_tokens_details.model_dump()["image_tokens"] > 0


@pytest.mark.process
async def test_a_picture_by_url_is_the_same_picture(server: ServeCommand) -> None:
    async def give(request: web.Request) -> web.Response:
        return web.Response(
            body=base64.b64decode(picture().partition(",")[2]), content_type="image/png"
        )

    site = web.Application()
    site.add_routes([web.get("/a.png", give)])
    listener = socket.create_server(("127.0.0.1", 0))
    runner = await serve_on(site, listener)
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a.png"
        answers = []
        for source in (url, picture()):
            content = [
                {"type": "image_url", "image_url": {"url": source}},
                {"type": "text", "text": "what?"},
            ]
            body = {
                "messages": [{"role": "user", "content": content}],
                "temperature": 0,
                "max_tokens": 8,
                "return_timings": True,
            }
            status, answer = await post(server, CHAT, body)
            assert status == 200, answer
            answers.append(answer)
    finally:
        await runner.cleanup()
    assert answers[0]["choices"] == answers[1]["choices"]
    stages = [{stage["stage"] for stage in answer["timings"]} for answer in answers]  # type: ignore[attr-defined]
    assert "fetch" in stages[0]
    assert "fetch" not in stages[1]


@pytest.mark.process
async def test_S55_a_caller_that_goes_away_frees_its_place(server: ServeCommand) -> None:
    body = {"prompt": "x", "max_tokens": 4000, "ignore_eos": True, "stream": True}
    async with aiohttp.ClientSession() as session:
        response = await session.post(f"{server.url}/v1/completions", json=body)
        await response.content.readany()
        assert (await metrics(server))["thespis_requests_in_flight"] == 1
        response.close()
    async with asyncio.timeout(2):
        while (found := await metrics(server))["thespis_requests_in_flight"] or found[
            "thespis_scheduler_running"
        ]:
            await asyncio.sleep(0.05)


@pytest.mark.process
@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        (
            CHAT,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"image_url": "data:image/png;base64,bm90IGEgcGljdHVyZQ=="}],
                    }
                ]
            },
            422,
            "messages[0].content[0]",
        ),
        ("/v1/completions", {"prompt": "word " * 50_000}, 400, None),
        ("/v1/completions", {"prompt": [1_000_000]}, 400, None),
        (CHAT, {"messages": [{"role": "user", "content": "x"}], "model": "gpt-4"}, 404, "model"),
    ],
)
async def test_bad_input_has_its_status_and_costs_no_process(
    server: ServeCommand, path: str, body: dict[str, object], status: int, param: str | None
) -> None:
    before = await pids(server)
    found, answer = await post(server, path, body)
    assert found == status, answer
    error = answer["error"]
    assert isinstance(error, dict)
    assert param is None or error["param"] == param
    assert await pids(server) == before


@pytest.mark.process
async def test_bench_counts_every_token(server: ServeCommand) -> None:
    given = [
        "bench",
        "serve",
        "--base-url",
        server.url,
        "--streams",
        "1,4",
        "--max-tokens",
        "16",
        "--requests",
        "4",
        "--json",
    ]
    levels = await measure(build_parser("bench").parse_args(given))
    assert [level.tokens for level in levels] == [64, 64]
    assert [level.prompt_tokens for level in levels] == [4 * 32, 4 * 32]


@pytest.mark.process
async def test_a_killed_http_frontend_comes_back_on_the_same_port(server: ServeCommand) -> None:
    before = await pids(server)
    os.kill(before["http"], signal.SIGKILL)

    async def back() -> bool:
        try:
            return (await pids(server)).get("http", before["http"]) != before["http"]
        except aiohttp.ClientError:
            return False

    async with asyncio.timeout(20):
        while not await back():
            await asyncio.sleep(0.2)
    status, _ = await post(server, "/v1/completions", {"prompt": "x", "max_tokens": 2})
    assert status == 200
    after = await pids(server)
    assert {role: pid for role, pid in after.items() if role != "http"} == {
        role: pid for role, pid in before.items() if role != "http"
    }


@pytest.mark.process
async def test_at_sigterm_an_open_stream_is_finished_and_the_exit_code_is_0(
    server: ServeCommand,
) -> None:
    body = {
        "prompt": "x",
        "max_tokens": 400,
        "ignore_eos": True,
        "stream": True,
        "return_token_ids": True,
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/v1/completions", json=body) as response,
    ):
        first = await response.content.readany()
        server.process.send_signal(signal.SIGTERM)
        rest = await response.read()
    events = [
        json.loads(event[6:])
        for event in (first + rest).split(b"\n\n")
        if event.startswith(b"data: {")
    ]
    assert sum(len(choice["token_ids"]) for event in events for choice in event["choices"]) == 400
    assert rest.endswith(b"data: [DONE]\n\n")
    assert await asyncio.to_thread(server.wait) == 0


def test_an_unknown_model_path_is_said_at_once(tmp_path: Path) -> None:
    assert f"No model at '{tmp_path / 'none'}'" in refused_start(
        str(tmp_path / "none"), "--port", "0"
    )


def test_a_folder_that_is_no_checkpoint_is_said_at_once(tmp_path: Path) -> None:
    assert "no config.json" in refused_start(str(tmp_path), "--port", "0")


def test_a_taken_port_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = refused_start("--port", str(taken.getsockname()[1]))
    assert "choose another with --port" in text
