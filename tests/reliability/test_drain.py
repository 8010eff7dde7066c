"""SIGTERM: nothing new is taken, what was accepted finishes, and nothing is left. A second one:
now."""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from thespis import AsyncLLM, SamplingParams
from thespis.frontends.engine import start_engine
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.errors import RequestError
from thespis.protocol.topology import (
    DECODE_WORKER,
    DETOKENIZER,
    ENCODER_CACHE,
    FETCHER,
    GPU_RUNNER,
    HTTP,
    PREPROCESSOR,
    SCHEDULER,
)

from ..helpers.commands import command
from ..helpers.engines import assert_nothing_left, processes_of
from ..helpers.media import data_url, picture, png
from ..helpers.torchless import TORCHLESS, played_by

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
ENDLESS = {
    "prompt": [70, 71],
    "max_tokens": 4000,
    "ignore_eos": True,
    "stream": True,
    "return_token_ids": True,
}
EVERYBODY = {
    FETCHER,
    PREPROCESSOR,
    DECODE_WORKER,
    ENCODER_CACHE,
    SCHEDULER,
    GPU_RUNNER,
    DETOKENIZER,
    HTTP,
    "zygote",
    "janitor",
}


class Engine(NamedTuple):
    url: str
    run_dir: Path
    pid: int
    """Of who is sent the signal."""
    director: int


@asynccontextmanager
async def engine_of_fakes(
    monkeypatch: pytest.MonkeyPatch, drain_timeout: float
) -> AsyncIterator[Engine]:
    """Its runner takes 20 ms a step: streams of 4000 tokens outlive every test."""
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.02")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = ServerConfig(port=port, drain_timeout=drain_timeout, listen_fd=listener.fileno())
        handle = await asyncio.to_thread(
            start_engine, EngineConfig(), server, **played_by(TORCHLESS)
        )
    try:
        yield Engine(
            f"http://127.0.0.1:{port}", handle.run_dir, handle.process.pid, handle.process.pid
        )
        assert await asyncio.to_thread(handle.process.wait, 20) == 0
    finally:
        handle.terminate()
    await asyncio.to_thread(assert_nothing_left, handle.process.pid, handle.run_dir)


class Events:
    """What one stream brought."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.error: str | None = None
        self.done = False
        self.begun = asyncio.Event()

    async def read(self, http: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> None:
        async with http.post(path, json=body) as response:
            assert response.status == 200, await response.text()
            async for line in response.content:
                if line.startswith(b"data: "):
                    self._note(line.removeprefix(b"data: ").strip())

    def _note(self, data: bytes) -> None:
        if data == b"[DONE]":
            self.done = True
            return
        event = json.loads(data)
        if "error" in event:
            self.error = event["error"]["code"]
            return
        for choice in event["choices"]:
            self.tokens += choice.get("token_ids") or ()
        if self.tokens:
            self.begun.set()


async def begin(
    http: aiohttp.ClientSession, path: str, body: dict[str, Any]
) -> tuple[Events, asyncio.Task[None]]:
    events = Events()
    task = asyncio.create_task(events.read(http, path, body))
    async with asyncio.timeout(30):
        await events.begun.wait()
    return events, task


async def until_refused(http: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(10):
        while (await http.get("/health")).status != 503:
            await asyncio.sleep(0.01)


async def code_of_the_first_refusal(llm: AsyncLLM) -> str | None:
    """Each client is told by a message of its own: this one may hear later than the server."""
    async with asyncio.timeout(10):
        while True:
            try:
                await llm.generate("x", SamplingParams(max_tokens=1))
            except RequestError as refused:
                return refused.failure.code


@asynccontextmanager
async def thespis_serve(
    torchless: bool = False,
) -> AsyncIterator[tuple[str, Path, "asyncio.subprocess.Process"]]:
    """The command that an operator starts."""
    flags = ("--port", "0", "--drain-timeout", "60", "--dtype", "float32")
    process = await asyncio.create_subprocess_exec(
        *command("serve", *flags, torchless=torchless),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        url, _, rest = line.partition("is served at ")[2].partition("/v1 (run directory ")
        yield url, Path(rest.rstrip(")\n")), process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def bodies() -> list[tuple[str, dict[str, Any]]]:
    """Text, pictures, greedy and seeded."""
    common = {"max_tokens": 120, "ignore_eos": True, "stream": True, "return_token_ids": True}
    asked: list[tuple[str, dict[str, Any]]] = []
    for number in range(3):
        url = {"url": data_url("image/png", png(picture(number)))}
        content = [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": url},
        ]
        message = {"role": "user", "content": content}
        asked.append(("/v1/chat/completions", {**common, "messages": [message], "temperature": 0}))
        asked.append(
            (
                "/v1/completions",
                {**common, "prompt": f"word {number}", "temperature": 1.0, "seed": number},
            )
        )
    return asked


@pytest.mark.usefixtures("commands_start_warm")
async def test_accepted_streams_finish_token_for_token_and_new_ones_are_refused() -> None:
    async with thespis_serve() as (url, run_dir, process), aiohttp.ClientSession(url) as http:
        director = int((run_dir / "lock").read_text())
        undisturbed = [Events() for _ in bodies()]
        for events, (path, body) in zip(undisturbed, bodies(), strict=True):
            await events.read(http, path, body)
        async with AsyncLLM(run_dir=run_dir) as llm:
            # Long enough that the server is still draining when the late requests come, however
            # busy the machine is.
            params = SamplingParams(max_tokens=500, temperature=0.0, ignore_eos=True)
            alone = await llm.generate("another face", params)
            stream = llm.stream("another face", params)
            joined = list((await anext(stream)).token_ids)
            streams = [await begin(http, path, body) for path, body in bodies()]
            process.send_signal(signal.SIGTERM)
            await until_refused(http)
            async with (
                http.get("/live") as live,
                http.post("/v1/completions", json={"prompt": "x"}) as late,
            ):
                assert (live.status, late.status, late.headers["Retry-After"]) == (200, 503, "2")
                assert (await late.json())["error"]["code"] == "shutting_down"
            assert await code_of_the_first_refusal(llm) == "shutting_down"
            async for delta in stream:
                joined += delta.token_ids
            await asyncio.gather(*(task for _, task in streams))
        assert await asyncio.wait_for(process.wait(), 30) == 0
    assert [(events.tokens, events.done) for events, _ in streams] == [
        (events.tokens, True) for events in undisturbed
    ]
    assert joined == alone.outputs[0].token_ids
    await asyncio.to_thread(assert_nothing_left, director, run_dir)


async def test_a_second_sigterm_ends_it_now_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        engine_of_fakes(monkeypatch, 60.0) as engine,
        aiohttp.ClientSession(engine.url) as http,
    ):
        events, reading = await begin(http, "/v1/completions", ENDLESS)
        asked = time.monotonic()
        while not reading.done():  # one that comes within a second of the first belongs to it
            os.kill(engine.pid, signal.SIGTERM)
            await asyncio.wait([reading], timeout=0.2)
        assert 1.0 <= time.monotonic() - asked < 20
        assert (events.error, events.done) == ("shutting_down", True)


def role(title: str) -> str:
    return title.removeprefix("thespis ")


def until_all_are_there(director: int) -> None:
    deadline = time.monotonic() + 30
    while not {role(title) for title in processes_of(director).values()} >= EVERYBODY:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def tell(pids: Iterable[int], *numbers: signal.Signals) -> None:
    for pid in pids:
        for number in numbers:
            with suppress(ProcessLookupError):  # what a fork leaves between ends by itself
                os.kill(pid, number)


async def test_streams_outlive_a_signal_to_every_process_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As systemd sends it, a container's runtime, or a terminal that is closed."""
    async with (
        engine_of_fakes(monkeypatch, 60.0) as engine,
        aiohttp.ClientSession(engine.url) as http,
    ):
        await asyncio.to_thread(until_all_are_there, engine.director)
        streams = [
            await begin(http, "/v1/completions", {**ENDLESS, "max_tokens": 200}) for _ in range(12)
        ]
        titles = processes_of(engine.director)
        lasting = {pid for pid, title in titles.items() if role(title) in EVERYBODY}
        others = [pid for pid in titles if pid != engine.director]
        for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM"):
            tell(others, signal.Signals[name])
        async with AsyncLLM(run_dir=engine.run_dir) as llm:
            assert not any((await llm.status()).restarts.values())
        assert lasting <= set(processes_of(engine.director))
        tell((engine.director, *others), signal.SIGTERM, signal.SIGINT)
        await until_refused(http)
        reading = [task for _, task in streams]
        _, unread = await asyncio.wait(reading, timeout=1.1)
        for number in (signal.SIGHUP, signal.SIGQUIT):
            os.kill(engine.director, number)
        assert unread, "they outlive the second in which no signal hastens"
        await asyncio.wait_for(asyncio.gather(*reading), 60)
        assert [(len(events.tokens), events.error, events.done) for events, _ in streams] == [
            (200, None, True)
        ] * 12


async def test_what_outlasts_the_drain_timeout_is_cut_with_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        engine_of_fakes(monkeypatch, 1.5) as engine,
        aiohttp.ClientSession(engine.url) as http,
        AsyncLLM(run_dir=engine.run_dir) as llm,
    ):
        stream = llm.stream(
            {"prompt_token_ids": [70, 71]}, SamplingParams(max_tokens=4000, ignore_eos=True)
        )
        await anext(stream)
        events, reading = await begin(http, "/v1/completions", ENDLESS)
        began = time.monotonic()
        os.kill(engine.pid, signal.SIGTERM)
        await asyncio.wait_for(reading, 20)
        assert time.monotonic() - began >= 1.4
        assert (events.error, events.done) == ("shutting_down", True)
        with pytest.raises(RequestError) as cut:
            async for _ in stream:
                pass
        assert cut.value.failure.code == "shutting_down"


async def test_who_dies_while_the_engine_drains_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        engine_of_fakes(monkeypatch, 60.0) as engine,
        aiohttp.ClientSession(engine.url) as http,
    ):
        async with AsyncLLM(run_dir=engine.run_dir) as llm:
            pids = (await llm.status()).pids
        events, reading = await begin(http, "/v1/completions", {**ENDLESS, "max_tokens": 150})
        os.kill(engine.pid, signal.SIGTERM)
        await until_refused(http)
        os.kill(pids["scheduler"], signal.SIGKILL)
        await asyncio.wait_for(reading, 30)
        assert (len(events.tokens), events.error, events.done) == (150, None, True)
