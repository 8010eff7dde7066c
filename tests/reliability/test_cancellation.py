"""Whoever goes away, in whichever stage and way: everything that the request held is free again, by
the actors' counters.

Every stage is one in which the request would stay for seconds; so what is free soon was freed by
its end.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
from PIL import Image

from thespis import AsyncLLM, SamplingParams
from thespis.frontends.engine import start_engine
from thespis.frontends.inputs.conversations import read_any
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.errors import RequestError
from thespis.scripts.stress.holding import held

from ..helpers.engines import cast_of
from ..helpers.media import clip, data_url, picture, png
from ..helpers.serving import Server
from ..spec.web import Site

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]
Stats = Mapping[str, Mapping[str, float]]
PATIENCE = 20.0
"""Seconds until a request has come where it is to be cut; the machine may be busy."""
SOON = 6.0
"""Seconds until all is free, the encoder's batch and a replaced worker included; every hold is
longer."""
PROGRAM = """
import json, sys, time
from thespis import LLM, SamplingParams
with LLM(run_dir=sys.argv[1]) as llm:
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            llm.chat(asked["messages"], SamplingParams(**asked["sampling"]), use_tqdm=False)
            print(json.dumps("answered"), flush=True)
        except KeyboardInterrupt:
            while any(llm._client.counters().values()):
                time.sleep(0.01)
            print(json.dumps("interrupted"), flush=True)
"""


def user(*parts: dict[str, Any] | str) -> list[dict[str, Any]]:
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return [{"role": "user", "content": content}]


def media(kind: str, url: str) -> dict[str, Any]:
    return {"type": f"{kind}_url", f"{kind}_url": {"url": url}}


def a_picture(seed: int) -> dict[str, Any]:
    return media("image", data_url("image/png", png(picture(seed))))


class Stage(NamedTuple):
    messages: Callable[[str, int], list[dict[str, Any]]]
    """Of the site's address and a number that makes it new."""
    reached: Callable[[Stats, Stats], bool]
    """By the counters before and now."""
    tokens: int = 2000
    crowded: bool = False
    """The batch is full before it comes."""


def _grew(before: Stats, now: Stats, role: str, counter: str) -> float:
    return now[role][counter] - before[role][counter]


STAGES: dict[str, Stage] = {
    # with bytes of its own, which nobody reads any more when the download is given up
    "fetch": Stage(
        lambda site, n: user(a_picture(n), media("image", f"{site}/hang?{n}"), "what?"),
        lambda before, now: now["fetcher"]["in_flight"] == 1,
    ),
    "decode": Stage(
        lambda site, n: user(media("video", data_url("video/mp4", clip(n))), "what?"),
        lambda before, now: now["preprocessor"]["decodes_running"] == 1,
    ),
    "encode": Stage(
        lambda site, n: user(a_picture(n), "what?"),
        lambda before, now: now["encoder-cache"]["pinned"] == 1,
    ),
    "queue": Stage(
        lambda site, n: user(f"{n} what?"),
        lambda before, now: _grew(before, now, "scheduler", "waiting") == 1,
        crowded=True,
    ),
    "prefill": Stage(
        lambda site, n: user(f"{n} " + "what is it? " * 200),
        lambda before, now: (
            now["scheduler"]["running"] == 1 and 0 < _grew(before, now, "gpu-runner", "steps") < 40
        ),
    ),
    "generate": Stage(
        lambda site, n: user(f"{n} what?"),
        lambda before, now: _grew(before, now, "detokenizer", "tokens") > 2,
    ),
    "detokenise": Stage(
        lambda site, n: user(f"{n} what?"),
        lambda before, now: now["scheduler"]["kept"] == 1,
        tokens=3,
    ),
}


class House:
    """An engine in which every stage takes long, its three faces, and a web site that never
    answers."""

    def __init__(
        self, server: Server, llm: AsyncLLM, site: Site, program: "subprocess.Popen[str]"
    ) -> None:
        self.server, self.llm, self.site, self.program = server, llm, site, program
        self._number = 0

    def messages(self, stage: Stage) -> list[dict[str, Any]]:
        self._number += 1
        return stage.messages(self.site.url("", "127.0.0.1"), self._number)

    async def stats(self) -> Stats:
        return (await self.llm.status()).stats

    async def until(
        self,
        wanted: Callable[[Stats], bool],
        seconds: float,
        what: Callable[[Stats], object] = held,
    ) -> None:
        began = time.monotonic()
        while True:
            stats: Stats = {}
            with suppress(KeyError):  # somebody is just being replaced
                if wanted(stats := await self.stats()):
                    return
            assert time.monotonic() - began < seconds, what(stats)
            await asyncio.sleep(0.02)

    async def free(self) -> None:
        """Until nobody holds anything of any request."""

        def idle(stats: Stats) -> bool:
            return not held(stats) and not any(self.mine.values())

        await self.until(idle, SOON, lambda stats: (held(stats), self.mine))

    @property
    def mine(self) -> dict[str, float]:
        assert self.llm._client is not None
        return self.llm._client.counters()

    @asynccontextmanager
    async def crowd(self, wanted: bool) -> AsyncIterator[None]:
        """Both seats taken, if wanted."""
        if not wanted:
            yield
            return
        both = SamplingParams(n=2, max_tokens=3000, ignore_eos=True, temperature=0.0)
        sitting = asyncio.create_task(self.llm.generate("take seats", both))
        await self.until(lambda stats: stats["scheduler"]["running"] == 2, PATIENCE)
        yield
        sitting.cancel()
        with suppress(asyncio.CancelledError):
            await sitting


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with (
        pytest.MonkeyPatch.context() as patch,
        Site() as site,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        patch.setenv("FAKE_STEP_SECONDS", "0.05")
        patch.setenv("THESPIS_IMAGE_FETCH_TIMEOUT", "60")
        port = listener.getsockname()[1]
        engine = start_engine(
            EngineConfig(
                max_num_seqs=2,
                max_num_batched_tokens=16,
                allow_private_media=True,
                mm_processor_cache_gb=1,
            ),
            ServerConfig(host="127.0.0.1", port=port, listen_fd=listener.fileno()),
            cast=cast_of(
                {
                    "gpu-runner": "fake_runner",
                    "decode-worker": "holding_worker",
                    "encoder-cache": "holding_encoder",
                    "detokenizer": "holding_detokenizer",
                },
                forked=("decode-worker", "encoder-cache"),
            ),
        )
        program = subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, str(engine.run_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            yield House(
                Server(f"http://127.0.0.1:{port}", engine),
                AsyncLLM(run_dir=engine.run_dir),
                site,
                program,
            )
        finally:
            with program:
                assert program.stdin is not None
                program.stdin.close()
                program.wait(30)
            engine.terminate()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def at_home(house: House) -> AsyncIterator[House]:
    async with house.llm:
        yield house


async def by_connection(house: House, messages: Any, tokens: int, reached: asyncio.Event) -> None:
    """The caller of the server hangs up."""
    body = {
        "messages": messages,
        "max_tokens": tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": tokens > 3,
    }
    async with aiohttp.ClientSession(house.server.url) as http:
        asking = asyncio.create_task(http.post("/v1/chat/completions", json=body).__aenter__())
        await reached.wait()
        asking.cancel()
    with suppress(asyncio.CancelledError):
        (await asking).close()


async def by_task(house: House, messages: Any, tokens: int, reached: asyncio.Event) -> None:
    asking = asyncio.create_task(
        house.llm.generate(messages, SamplingParams(max_tokens=tokens, ignore_eos=True))
    )
    await reached.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def by_deadline(house: House, messages: Any, tokens: int, reached: asyncio.Event) -> None:
    params = SamplingParams(max_tokens=tokens, ignore_eos=True)
    with pytest.raises(RequestError) as late:
        await house.llm.generate(messages, params, deadline=time.time() + 1.5)
    assert late.value.failure.code == "deadline"
    assert reached.is_set(), "it was late before it had come so far"


async def by_ctrl_c(house: House, messages: Any, tokens: int, reached: asyncio.Event) -> None:
    """Of `LLM.chat` in a program that goes on."""
    program = house.program
    assert program.stdin is not None
    assert program.stdout is not None
    sampling = {"max_tokens": tokens, "ignore_eos": True}
    program.stdin.write(json.dumps({"messages": messages, "sampling": sampling}) + "\n")
    program.stdin.flush()
    await reached.wait()
    os.kill(program.pid, signal.SIGINT)
    assert json.loads(await asyncio.to_thread(program.stdout.readline)) == "interrupted"


@pytest.mark.parametrize("way", [by_connection, by_task, by_deadline, by_ctrl_c])
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
async def test_everything_is_free_soon(at_home: House, stage: Stage, way: Any) -> None:
    house, reached = at_home, asyncio.Event()
    async with house.crowd(stage.crowded):
        before = await house.stats()
        going = asyncio.create_task(way(house, house.messages(stage), stage.tokens, reached))
        await house.until(lambda now: stage.reached(before, now), PATIENCE)
        reached.set()
        await going
        if stage.crowded:
            await house.until(lambda stats: not stats["scheduler"]["waiting"], SOON)
    await house.free()


async def test_twice_is_as_good_as_once(at_home: House) -> None:
    house = at_home
    client = house.llm._client
    assert client is not None
    before = await house.stats()
    for id in ("nobody's", "nobody's"):
        await client.cancel(id)
    endless = SamplingParams(max_tokens=2000, ignore_eos=True)
    stream, _ = await house.llm._submit(read_any, "hold on", endless, {}, True)
    await anext(stream)
    await asyncio.gather(stream.cancel(), client.cancel(stream.id))
    await client.cancel(stream.id)
    await house.free()
    assert _grew(before, await house.stats(), "scheduler", "aborted") == 1


async def test_features_that_nobody_asked_for_go_with_their_request(at_home: House) -> None:
    """The prompt's picture is covered by a prefix that was computed before: the encoder is never
    asked."""
    house = at_home
    red = {"type": "image_pil", "image_pil": Image.new("RGB", (56, 56), "red")}
    for _ in range(2):
        output = await house.llm.chat(
            user(red, "what colour is it, please? " * 4), SamplingParams(max_tokens=2)
        )
    assert output.metrics.cached_tokens > 0
    await house.free()


async def test_a_deadline_holds_at_the_door_too(at_home: House) -> None:
    house = at_home
    assert house.llm._client is not None
    admission = house.llm._client.admission
    share, admission.share = admission.share, type(admission.share)(1, 1, 1)
    try:
        sitting = asyncio.create_task(
            house.llm.generate("take the place", SamplingParams(max_tokens=2000, ignore_eos=True))
        )
        await house.until(lambda stats: stats["scheduler"]["running"] == 1, PATIENCE)
        with pytest.raises(RequestError) as late:
            await house.llm.generate(
                user(a_picture(5), "no room"), SamplingParams(), deadline=time.time() + 0.3
            )
        assert late.value.failure.code == "deadline"
        sitting.cancel()
        with suppress(asyncio.CancelledError):
            await sitting
    finally:
        admission.reshare(share)
    await house.free()
