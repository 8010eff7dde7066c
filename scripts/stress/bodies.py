"""How long the event loop of a real HTTP server stands still for bodies of every structure. A table
on stdout.

`scripts/dev bodies [--only WORD]`; the bundled model. The lag is told by the loop's own clock, in a
task that wants to wake every 2 ms; the memory is the growth of the server and its readers, sampled
meanwhile.
"""

import argparse
import asyncio
import base64
import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import aiohttp

from thespis.actors.director.config import Cast
from thespis.actors.kernel.actor import run
from thespis.actors.kernel.launch import Launch
from thespis.frontends.client.client import Client
from thespis.frontends.engine import start_engine
from thespis.frontends.openai.main import Http
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.open_files import raise_file_limit
from thespis.protocol.config.server import ServerConfig

CHAT, COMPLETION, TOKENIZE, DETOKENIZE = (
    "/v1/chat/completions",
    "/v1/completions",
    "/tokenize",
    "/detokenize",
)
MB = 1_000_000
LOOK_SECONDS = 0.002
PNG = (Path(__file__).resolve().parents[2] / "demo_model/media/picture.png").read_bytes()


class Watched(Http):
    """The HTTP server, and how long its loop stood still at most since it was asked."""

    _lag = 0.0

    async def on_start(self, config: bytes) -> dict[str, int]:
        notes = await super().on_start(config)
        self.tasks.start_soon(self._watch)
        return notes

    async def _watch(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(LOOK_SECONDS)
            self._lag = max(self._lag, time.perf_counter() - before - LOOK_SECONDS)

    def counters(self) -> dict[str, float]:
        lag, self._lag = self._lag, 0.0
        return {**super().counters(), "lag_ms": 1000 * lag}


def main(launch: Launch) -> None:
    raise_file_limit(os.getpid())
    run(Watched(launch))


def part(kind: str, data: bytes) -> bytes:
    """A chat about one item."""
    url = b"data:" + kind.encode() + b";base64," + base64.b64encode(data)
    return (
        b'{"max_tokens":1,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"'
        + url
        + b'"}}]}]}'
    )


def said(text: bytes) -> bytes:
    return b'{"max_tokens":1,"messages":[{"role":"user","content":"' + text + b'"}]}'


def many(before: bytes, one: bytes, size: int, after: bytes) -> bytes:
    return before + one * (size // len(one)) + after


BODIES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "nothing": (CHAT, lambda: said(b"hello")),
    "A1: 8 MB of []": (CHAT, lambda: many(b'{"audio":[', b"[],", 8 * MB, b"[]]}")),
    "A1: 24 MB of []": (CHAT, lambda: many(b'{"audio":[', b"[],", 24 * MB, b"[]]}")),
    "A1: 48 MB of []": (CHAT, lambda: many(b'{"audio":[', b"[],", 48 * MB, b"[]]}")),
    "A1: 80 MB of []": (CHAT, lambda: many(b'{"audio":[', b"[],", 80 * MB, b"[]]}")),
    "99,000 []": (CHAT, lambda: many(b'{"audio":[', b"[],", 297_000, b"[]]}")),
    "1 MB deep": (CHAT, lambda: b"[" * MB),
    "50,000 messages": (
        CHAT,
        lambda: many(b'{"messages":[', b'{"role":"user","content":"a"},', 50_000 * 30, b"1]}"),
    ),
    "49,000 good messages": (
        CHAT,
        lambda: many(
            b'{"messages":[', b'{"role":"user","content":"a"},', 49_000 * 30, b'{"role":"user"}]}'
        ),
    ),
    "16,000 parts": (
        CHAT,
        lambda: many(
            b'{"messages":[{"role":"user","content":[',
            b'{"type":"text","text":"a"},',
            16_000 * 27,
            b'"b"]}]}',
        ),
    ),
    "90,000 tools": (CHAT, lambda: many(b'{"messages":[],"tools":[', b"{},", 270_000, b"{}]}")),
    "500,000 stop strings": (
        CHAT,
        lambda: many(b'{"messages":[],"stop":[', b'"a",', 2 * MB, b'"b"]}'),
    ),
    "300,000 keys in mm_processor_kwargs": (
        CHAT,
        lambda: (
            said(b"a")[:-1]
            + b',"mm_processor_kwargs":{'
            + b",".join(b'"%d":1' % i for i in range(300_000))
            + b"}}"
        ),
    ),
    "49,000 keys in mm_processor_kwargs": (
        CHAT,
        lambda: (
            said(b"a")[:-1]
            + b',"mm_processor_kwargs":{'
            + b",".join(b'"%d":1' % i for i in range(49_000))
            + b"}}"
        ),
    ),
    "a tool of 49,000 schemas": (
        CHAT,
        lambda: (
            said(b"a")[:-1]
            + b',"tools":[{"function":{"name":"a","parameters":{"a":['
            + b"{}," * 49_000
            + b"{}]}}}]}"
        ),
    ),
    "32,000 biases": (
        CHAT,
        lambda: (
            said(b"a")[:-1]
            + b',"logit_bias":{'
            + b",".join(b'"%d":1' % i for i in range(32_000))
            + b"}}"
        ),
    ),
    "260,000 biases": (
        CHAT,
        lambda: (
            said(b"a")[:-1]
            + b',"logit_bias":{'
            + b",".join(b'"%d":1' % i for i in range(260_000))
            + b"}}"
        ),
    ),
    "4,000,000 token ids": (COMPLETION, lambda: many(b'{"prompt":[', b"17,", 12 * MB, b"1]}")),
    "128 prompts of 250 ids": (
        COMPLETION,
        lambda: (
            b'{"max_tokens":1,"prompt":[' + b",".join([b"[" + b"17," * 249 + b"1]"] * 128) + b"]}"
        ),
    ),
    "1,000,000 ids to detokenize": (
        DETOKENIZE,
        lambda: many(b'{"tokens":[', b"117,", 4 * MB, b"1]}"),
    ),
    "a number of 1,000,000 digits": (
        CHAT,
        lambda: said(b"a")[:-1] + b',"temperature":' + b"1" * MB + b"}",
    ),
    "4 MB of text": (CHAT, lambda: said(b"word " * 800_000)),
    "15 MB of text": (TOKENIZE, lambda: b'{"prompt":"' + b"word " * 3_000_000 + b'"}'),
    "60 MB of text": (CHAT, lambda: said(b"word " * 12_000_000)),
    "48 MB of Chinese text": (
        TOKENIZE,
        lambda: b'{"prompt":"' + "字".encode() * 16_000_000 + b'"}',
    ),
    "60 MB of escapes": (CHAT, lambda: said(b"\\u0041" * 10_000_000)),
    "200 MB of escapes": (CHAT, lambda: said(b"\\u0041" * 33_000_000)),
    "200 MB of a text": (CHAT, lambda: said(b"a" * 200 * MB)),
    "200 MB of blanks": (CHAT, lambda: b"{" + b" " * 200 * MB + b"}"),
    "a picture": (CHAT, lambda: part("image/png", PNG)),
    "a picture of 30 MB": (CHAT, lambda: part("image/png", PNG + bytes(30 * MB))),
    "a picture of 48 MB": (CHAT, lambda: part("image/png", PNG + bytes(47 * MB))),
    "a picture of 190 MB": (CHAT, lambda: part("image/png", PNG + bytes(190 * MB))),
    "250 MB that are no base64": (
        CHAT,
        lambda: said(b"a")[:-1] + b',"audio":"' + b"!" * 250 * MB + b'"}',
    ),
}
"""The path and the body, made when it is needed."""


def resident(pid: int) -> int:
    """Bytes of a process and its children."""
    total = 0
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            with suppress(OSError):
                total += (
                    int(Path(f"/proc/{one}/statm").read_text().split()[1]) * resource.getpagesize()
                )
    return total


async def most_resident(pid: int, most: list[int]) -> None:
    while True:
        most[0] = max(most[0], resident(pid))
        await asyncio.sleep(0.02)


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 1 << 20):
        yield body[start : start + (1 << 20)]


async def measure(url: str, client: Client, http: aiohttp.ClientSession, name: str) -> None:
    path, make = BODIES[name]
    body = make()
    status = await client.status()
    pid = status.pids["http"]
    before = resident(pid)
    most = [before]
    sampler = asyncio.create_task(most_resident(pid, most))
    start = time.perf_counter()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    try:
        async with http.post(url + path, data=pieces(body), headers=headers) as response:
            code = (await response.json(content_type=None)).get("error", {}).get("code", "")
            told = f"{response.status} {code}"
    except aiohttp.ClientError as error:
        told = type(error).__name__
    seconds = time.perf_counter() - start
    sampler.cancel()
    status = await client.status()
    lag = status.stats.get("http", {}).get("lag_ms", float("nan"))
    ends = status.restarts.get("http", 0)
    grown = (most[0] - before) / MB
    print(
        f"| {name} | {len(body) / MB:.1f} | {told} | {seconds:.2f} | {lag:.0f} | {grown:.0f} | "
        f"{ends} |",
        flush=True,
    )


async def measure_all(only: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = ServerConfig(port=port, listen_fd=listener.fileno())
        cast = Cast(modules={"http": "thespis.scripts.stress.bodies"})
        engine = await asyncio.to_thread(start_engine, EngineConfig(), server, cast=cast)
    try:
        async with await Client.connect(engine.run_dir) as client, aiohttp.ClientSession() as http:
            print("| body | MB | answer | s | longest lag ms | memory MB | restarts |")
            print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
            for name in BODIES:
                if only in name:
                    await measure(f"http://127.0.0.1:{port}", client, http, name)
    finally:
        engine.terminate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scripts/dev bodies", description=__doc__)
    parser.add_argument("--only", default="", help="bodies whose names have this word")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    asyncio.run(measure_all(parser.parse_args().only))
