"""The machine runs short: the request that meets it gets a 503 with a code, others nothing of it,
and it passes.

Each shortage is made by prlimit(2) on one process of the engine, so that nobody else on the machine
notices.
"""

import asyncio
import io
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from ..helpers.media import data_url, picture, png
from ..helpers.serving import Reply, Server, served

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]
SEEDS = count(1000)
"""Of pictures that nobody has seen yet."""
ITEM_MIB = 128
"""What decoding one item may add to a worker here."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THESPIS_MEDIA_DECODE_MEMORY_MB", str(ITEM_MIB))
        with served(allow_private_media=True) as server:
            yield server


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Gives a new picture at every URL."""

    class Give(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = png(picture(int(self.path[1:])))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Give) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def pids(server: Server) -> dict[str, int]:
    lines = server.ask("/metrics").body.splitlines()
    found = (line.rsplit(" ", 1) for line in lines if line.startswith("thespis_process_pid{"))
    return {name.split('"')[3]: int(float(pid)) for name, pid in found}


@contextmanager
def limited(pid: int, what: int, value: int) -> Iterator[None]:
    soft, hard = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (value, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, what, (soft, hard))


def ask(server: Server, url: str) -> Reply:
    return server.chat(
        [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": url}},
        ]
    )


def new_url(site: str | None = None) -> str:
    seed = next(SEEDS)
    return f"{site}/{seed}" if site is not None else data_url("image/png", png(picture(seed)))


def code_of(reply: Reply) -> tuple[int, Any]:
    return reply.status, reply.body["error"]["code"] if reply.status != 200 else None


def wait_for_new(server: Server, role: str, old: int) -> int:
    """Its successor's pid, when all are ready again."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if server.ask("/health").status == 200 and (pid := pids(server).get(role, old)) != old:
                return pid
        except OSError:
            pass  # the frontend itself is what comes back
        time.sleep(0.1)
    raise TimeoutError(role)


@pytest.mark.parametrize("role", ["http", "fetcher", "decode-worker-0", "encoder-cache"])
def test_full_shared_memory_is_a_503_and_passes(server: Server, site: str, role: str) -> None:
    """Of a new process, which has no segment yet."""
    old = pids(server)[role]
    os.kill(old, signal.SIGKILL)
    pid = wait_for_new(server, role, old)
    before = pids(server)
    url = new_url(site if role == "fetcher" else None)
    with limited(pid, resource.RLIMIT_FSIZE, 1 << 20):
        assert code_of(ask(server, url)) == (503, "no_shared_memory")
        assert server.chat("text goes on").status == 200
    assert ask(server, url).status == 200
    assert pids(server) == before


@pytest.mark.parametrize("role", ["fetcher", "decode-worker-0"])
def test_too_many_open_files_are_a_503_and_pass(server: Server, site: str, role: str) -> None:
    before = pids(server)
    url = new_url(site if role == "fetcher" else None)
    with limited(before[role], resource.RLIMIT_NOFILE, 3):
        assert code_of(ask(server, url)) == (503, "too_many_open_files")
        assert server.chat("text goes on").status == 200
    assert ask(server, url).status == 200
    assert pids(server) == before


async def test_a_caller_for_whom_there_is_hardly_a_file_is_told_so(server: Server) -> None:
    before = await asyncio.to_thread(pids, server)
    body = {"prompt": "x", "max_tokens": 300, "ignore_eos": True, "stream": True}
    async with (
        aiohttp.ClientSession(server.url) as http,
        http.post("/v1/completions", json=body) as stream,
    ):
        await stream.content.readany()
        used = len(list(Path(f"/proc/{before['http']}/fd").iterdir()))
        with limited(before["http"], resource.RLIMIT_NOFILE, used + 16):
            assert code_of(await asyncio.to_thread(server.chat, "late")) == (
                503,
                "too_many_open_files",
            )
            assert (await asyncio.to_thread(server.ask, "/live")).status == 200
            assert (await stream.read()).endswith(b"data: [DONE]\n\n")
    assert (await asyncio.to_thread(server.chat, "again")).status == 200
    assert await asyncio.to_thread(pids, server) == before


@pytest.fixture(scope="module")
def large() -> str:
    """Small as a file, 192 MB when it is decoded: more than an item may have, fewer pixels than a
    picture may."""
    file = io.BytesIO()
    Image.new("RGB", (8000, 8000), "red").save(file, "PNG")
    return data_url("image/png", file.getvalue())


def test_an_item_over_its_own_budget_is_its_own_fault(server: Server, large: str) -> None:
    before = pids(server)
    assert code_of(ask(server, large)) == (413, "too_large")
    assert pids(server) == before


def test_a_worker_at_its_processs_memory_limit_answers_503_and_lives(
    server: Server, large: str
) -> None:
    before = pids(server)
    url, worker = new_url(), before["decode-worker-0"]
    assert ask(server, new_url()).status == 200
    held = int(Path(f"/proc/{worker}/statm").read_text().split()[0]) * resource.getpagesize()
    with limited(worker, resource.RLIMIT_AS, held + (ITEM_MIB << 19)):
        assert code_of(ask(server, large)) == (503, "out_of_memory")
        assert server.chat("text goes on").status == 200
    assert ask(server, url).status == 200
    assert pids(server) == before
