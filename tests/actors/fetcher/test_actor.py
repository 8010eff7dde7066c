"""The whole fetcher against a server on loopback, with real shared memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from thespis.actors.fetcher import actor as shell
from thespis.actors.fetcher.actor import Fetcher
from thespis.actors.fetcher.download_table import DROPPED
from thespis.actors.kernel.launch import Launch
from thespis.protocol.config.roles import FetcherConfig
from thespis.protocol.edges.client_to_fetcher import Fetch
from thespis.protocol.edges.fetcher_to_preprocessor import Fetched
from thespis.protocol.edges.shared import MediaRead, RequestFailed
from thespis.protocol.memory.blobs import BlobReader
from thespis.protocol.requests.request import Encoded, MediaItem, Request, TextPrompt, Url
from thespis.protocol.requests.sampling import SamplingParams

from ..shells import Sent, acting

CONFIG = FetcherConfig(
    allowed_domains=(), allow_private=True, local_path=None,
    timeouts={"image": 2.0, "video": 2.0, "audio": 2.0},
    retries=0, redirects=3, max_bytes=1 << 20, arena_bytes=1 << 21,
)  # fmt: skip


class Scene:
    def __init__(self, fetcher: Fetcher, sent: Sent, run_dir: Path) -> None:
        self.fetcher, self.sent = fetcher, sent
        self.reader = BlobReader(run_dir)
        self.base = ""
        self.served: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.served.append(request.path)
        await self.gate.wait()
        if request.path == "/missing":
            return web.Response(status=404)
        if request.path == "/large":
            return web.Response(body=bytes(900_000))
        return web.Response(body=f"bytes of {request.path}".encode())

    def fetch(self, id: str, *paths: str) -> None:
        urls = [path if ":" in path else f"{self.base}{path}" for path in paths]
        media = tuple(
            MediaItem("image", Url(url), f"messages[0].content[{n}]") for n, url in enumerate(urls)
        )
        request = Request(
            id=id,
            client="client-a",
            arrival=0.0,
            prompt=TextPrompt(""),
            media=media,
            sampling=SamplingParams(),
        )
        self.fetcher.on_message("client-a", Fetch(request))

    def read(self, fetched: Fetched) -> list[bytes]:
        sources = [item.source for item in fetched.request.media]
        return [
            bytes(self.reader.view(source.blob))
            for source in sources
            if isinstance(source, Encoded)
        ]


@asynccontextmanager
async def scene(run_dir: Path, **changes: Any) -> AsyncIterator[Scene]:
    fetcher = Fetcher(Launch("fetcher", 0, str(run_dir), ""))
    async with acting(fetcher, msgspec.structs.replace(CONFIG, **changes)) as sent:
        here = Scene(fetcher, sent, run_dir)
        app = web.Application()
        app.router.add_get("/{tail:.*}", here.serve)
        async with TestServer(app) as server:
            here.base = f"http://127.0.0.1:{server.port}"
            yield here
            here.gate.set()
        here.reader.close()


async def test_urls_become_bytes_and_the_rest_of_the_request_stays(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.fetch("r", "/a", "/b")
        [fetched] = await here.sent.until(Fetched)
        assert here.read(fetched) == [b"bytes of /a", b"bytes of /b"]
        assert [(timing.stage, timing.detail) for timing in fetched.timings] == [
            ("fetch", "messages[0].content[0]: 11 bytes"),
            ("fetch", "messages[0].content[1]: 11 bytes"),
        ]
        assert fetched.request.id == "r"


async def test_S9_one_download_for_requests_at_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.gate.clear()
        for id in "rst":
            here.fetch(id, "/a")
        here.gate.set()
        await here.sent.until(Fetched, 3)
        here.fetch("u", "/a")
        await here.sent.until(Fetched, 4)
        counters = here.fetcher.counters()
        assert (here.served, counters["downloads"], counters["shared"]) == (["/a"], 1, 3)


async def test_a_failure_goes_to_the_client_with_the_item_named(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.fetch("r", "/a", "/missing")
        [failed] = await here.sent.until(RequestFailed)
        assert (failed.id, failed.failure.part, failed.failure.kind) == (
            "r",
            "messages[0].content[1]",
            "media_unavailable",
        )
        assert "404" in failed.failure.text
        assert here.sent[0][0] == "client-a"


async def test_refusals_are_counted_apart(tmp_path: Path) -> None:
    async with scene(tmp_path, allow_private=False) as here:
        here.fetch("r", "/a")
        here.fetch("s", "ftp://x/y")
        await here.sent.until(RequestFailed, 2)
        counters = here.fetcher.counters()
        assert (counters["refused"], counters["failed"], here.served) == (2, 0, [])


async def test_an_ended_request_stops_its_download(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.gate.clear()
        here.fetch("r", "/a")
        while not here.served:
            await asyncio.sleep(0.005)
        here.fetcher.on_end(("r",))
        await asyncio.sleep(0.05)
        assert (len(here.fetcher._running), here.fetcher.counters()["held_bytes"]) == (0, 0)
        here.gate.set()
        assert here.sent == [("client-a", RequestFailed("r", 0, DROPPED))]


async def test_bytes_are_freed_when_read_and_no_longer_shared(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(shell, "AT_ONCE_SECONDS", 0.05)
    async with scene(tmp_path) as here:
        here.fetch("r", "/a")
        await here.sent.until(Fetched)
        here.fetcher.on_message("preprocessor", MediaRead("r", 0))
        assert here.fetcher.counters()["held_bytes"] == 11
        await asyncio.sleep(0.1)
        assert here.fetcher.counters()["held_bytes"] == 0
        assert here.fetcher.arena is not None
        assert here.fetcher.arena.used == 0


async def test_what_ends_together_lingers_each(tmp_path: Path, monkeypatch: Any) -> None:
    """A preprocessor that never says `MediaRead` holds nobody's bytes for longer."""
    monkeypatch.setattr(shell, "AT_ONCE_SECONDS", 0.0)
    monkeypatch.setattr(shell, "LINGER_SECONDS", 0.05)
    async with scene(tmp_path) as here:
        here.fetch("r", "/a")
        here.fetch("s", "/b")
        await here.sent.until(Fetched, 2)
        here.fetcher.on_end(("r", "s"))
        assert here.fetcher.counters()["held_bytes"] == 22
        with anyio.fail_after(10):
            while here.fetcher.counters()["held_bytes"]:
                await asyncio.sleep(0.01)


async def test_what_nobody_reads_makes_room_and_what_is_read_does_not(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        for index in range(3):
            here.fetch(f"r{index}", f"/large?{index}")
            await here.sent.until(Fetched, index + 1)
            if index < 2:
                here.fetcher.on_message("preprocessor", MediaRead(f"r{index}", 0))
        here.fetch("s", "/large?3")
        await here.sent.until(Fetched, 4)
        here.fetch("t", "/large?4")
        [failed] = await here.sent.until(RequestFailed)
        assert failed.failure.kind == "overloaded"


async def test_a_local_file_below_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"local")
    async with scene(tmp_path, local_path=str(folder)) as here:
        here.fetch("r", f"file://{folder}/a.png")
        here.fetch("s", f"file://{folder}/../b.png")
        [fetched] = await here.sent.until(Fetched)
        [failed] = await here.sent.until(RequestFailed)
        assert here.read(fetched) == [b"local"]
        assert str(tmp_path) not in failed.failure.text


async def test_a_local_file_on_a_disk_is_waited_for_by_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "read_at_hand", lambda *_: False)
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"local")
    async with scene(tmp_path, local_path=str(folder)) as here:
        here.fetch("r", f"file://{folder}/a.png")
        [fetched] = await here.sent.until(Fetched)
        assert here.read(fetched) == [b"local"]
        counted = here.fetcher.counters()
        assert (counted["held_bytes"], counted["bytes"]) == (5, 5)
