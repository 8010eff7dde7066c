"""A client without an engine: deterministic words, real streams, and a switch for every way a
request can go."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from thespis.frontends.client.admission import Admission, Cost
from thespis.frontends.client.delivery import check_sendable
from thespis.frontends.client.ledger import LedgerEntry
from thespis.frontends.client.observer import Observer
from thespis.frontends.client.stream import Stream
from thespis.frontends.openai.app import make_app
from thespis.frontends.openai.gate.accepting import serve_on
from thespis.frontends.openai.main import close, limits_of, open_listener
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.roles import ClientConfig, HttpConfig
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.config.server_tls import context_of
from thespis.protocol.edges.control import Live, Share, Status
from thespis.protocol.edges.detokenizer_to_client import Delta, Finished, Logprob, PositionLogprobs
from thespis.protocol.edges.preprocessor_to_client import Tokenized
from thespis.protocol.edges.scheduler_to_detokenizer import Usage
from thespis.protocol.edges.view import Incarnation
from thespis.protocol.errors import Failure, RequestError
from thespis.protocol.facts import KvGroup, ModelFacts
from thespis.protocol.memory.blobs import BlobRef, Bytes
from thespis.protocol.requests.prepared import Prepared, Timing
from thespis.protocol.requests.request import MediaItem, Prompt, Request
from thespis.protocol.requests.sampling import SamplingParams

DEMO = Path(__file__).resolve().parents[3] / "demo_model"
MODEL = ModelFacts(
    path=str(DEMO), model_type="fake", layers=1, hidden=4, vocab=300, context=256,
    kv_groups=(KvGroup(layers=(0,), kv_heads=1, key_dim=4, value_dim=4),),
    eos_token_ids=(0,), dtype="float32", fingerprint="f",
)  # fmt: skip
WORDS = ("a", " red", " circle", " é", "!")
PROMPT_IDS = (5, 6, 7)
TIMING = Timing("prefill", 100.0, 100.5, "3 tokens")


def logprob(token_id: int, text: str, value: float = -0.5) -> Logprob:
    return Logprob(token_id, value, 1, text, text.encode())


def position(token_id: int, text: str, top: int) -> PositionLogprobs:
    others = [logprob(token_id, text), logprob(200, "x", float("-inf")), logprob(201, "y", -3.0)]
    return PositionLogprobs(logprob(token_id, text), tuple(others[:top]))


class FakeClient:
    """Answers every request with `words`, a token a word; what it was asked is kept in
    `submitted`."""

    def __init__(self) -> None:
        self.model, self.model_name, self.max_model_len = MODEL, "fake-model", 256
        self.ready = True
        self.words: Sequence[str] = WORDS
        self.pace = 0.0
        """Seconds between two tokens."""
        self.refusal: Failure | None = None
        self.fail_after: int | None = None
        """Tokens after which the request fails; 0: before the first."""
        self.failure = Failure("restarted", "A part was restarted.", code="restarted")
        self.submitted: list[
            tuple[Prompt, tuple[MediaItem, ...], SamplingParams, dict[str, Any]]
        ] = []
        self.blobs: dict[int, bytes] = {}
        self.room = 1 << 30
        self.media = self
        self.draining = False
        self.asked = 0
        """How often its counters were."""
        self.admission = Admission(Share(1000, 1 << 40, 1 << 40))
        self.entries: list[LedgerEntry] = []
        """As if they were under way."""
        self.observer: Observer | None = None
        self.looked = 0
        """How often it was asked for all that can be seen."""
        self.cancelled: list[str] = []
        self.cancel_seen = asyncio.Event()
        self._streams: dict[str, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put_bytes(
        self, data: Bytes, dtype: str = "uint8", shape: tuple[int, ...] | None = None
    ) -> BlobRef:
        data = bytes(data)
        if sum(map(len, self.blobs.values())) + len(data) > self.room:
            raise RequestError(Failure("overloaded", "No room for media.", code="overloaded"))
        offset = len(self.submitted) * 1000 + len(self.blobs)
        self.blobs[offset] = data
        return BlobRef("/dev/shm/fake", offset, "uint8", (len(data),))

    def draft(self, spare: bool = False) -> tuple[str, int]:
        fd, path = tempfile.mkstemp()
        return path, fd

    def adopt(self, blobs: Sequence[BlobRef]) -> None:
        """What another process has written, under the numbers that the blobs have."""
        if sum(map(len, self.blobs.values())) + sum(blob.nbytes for blob in blobs) > self.room:
            raise RequestError(Failure("overloaded", "No room for media.", code="overloaded"))
        whole = Path(blobs[0].segment).read_bytes()
        for blob in blobs:
            self.blobs[blob.offset] = whole[blob.offset : blob.offset + blob.nbytes]

    def discard(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)

    def drain(self) -> None:
        self.draining = True

    def drop_bytes(self, blob: BlobRef) -> None:
        del self.blobs[blob.offset]

    async def submit(
        self, prompt: Prompt, media: Sequence[MediaItem], sampling: SamplingParams, **more: Any
    ) -> Stream:
        if self.refusal is not None:
            raise RequestError(self.refusal)
        told = {
            name: value
            for name, value in more.items()
            if name in Request.__struct_fields__ and not name.endswith("_kwargs")
        }
        check_sendable(
            Request(
                id="r",
                client="c",
                arrival=0.0,
                prompt=prompt,
                media=tuple(media),
                sampling=sampling,
                **told,
            )
        )
        self.submitted.append((prompt, tuple(media), sampling, more))
        id = f"r{len(self.submitted)}"
        stream = self._streams[id] = Stream(id, self._cancel)
        task = asyncio.create_task(self._play(stream, sampling))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return stream

    async def _cancel(self, id: str) -> None:
        self.cancelled.append(id)
        self._streams[id].fail(Failure("cancelled", "The request was cancelled."))
        self.cancel_seen.set()

    async def _play(self, stream: Stream, sampling: SamplingParams) -> None:
        words = self.words[: sampling.max_tokens]
        stream.prepared = Prepared(
            id=stream.id, attempt=0, client="c", tenant="", arrival=0.0, priority=0,
            token_ids=PROMPT_IDS,
            items=(), positions=None, sampling=sampling, eos_token_ids=(0,),
        )  # fmt: skip
        if sampling.prompt_logprobs is not None:
            stream.push_prompt(
                1, tuple(position(id, f"p{id}", sampling.prompt_logprobs) for id in PROMPT_IDS[1:])
            )
        for index, word in enumerate(words):
            await asyncio.sleep(self.pace)
            if stream.ended:
                return
            if self.fail_after == index:
                stream.fail(self.failure)
                return
            for choice in range(sampling.n):
                last = index == len(words) - 1
                scores = (
                    () if sampling.logprobs is None else (position(index, word, sampling.logprobs),)
                )
                offset = len("".join(words[:index]))
                ended: Any = "length" if sampling.max_tokens == len(words) else "stop"
                reason = ended if last else None
                stream.push(
                    Delta(stream.id, 0, choice, index, offset, (index,), word, scores, reason)
                )
        usage = Usage(len(PROMPT_IDS), 2, {"image": 4}, 0)
        stream.finish(Finished(stream.id, 0, usage, len(words) * sampling.n, (TIMING,)))

    def end_all(self, failure: Failure) -> None:
        for stream in self._streams.values():
            stream.fail(failure)

    async def tokenize(self, prompt: Prompt) -> Tokenized:
        return Tokenized("t", PROMPT_IDS, "rendered")

    async def status(self) -> Status:
        self.asked += 1
        await asyncio.sleep(self.pace)
        return Status(
            True,
            {"scheduler": "ready"},
            {"gpu-runner": {"steps": 7.0}},
            {"gpu-runner": 1},
            {"gpu-runner": 2},
        )

    async def live(self) -> Live:
        self.looked += 1
        return Live(self.looked, True, {"scheduler": Incarnation("ready", 1, 0)}, {}, {}, ())

    def under_way(self) -> list[LedgerEntry]:
        return self.entries

    def observe(self, observer: Observer | None) -> None:
        self.observer = observer


def full() -> Admission:
    """A door with no place left."""
    door = Admission(Share(1, 1, 1))
    door.try_take(Cost(1, 1, 1))
    return door


def http_config(
    model: ModelFacts = MODEL, engine: Mapping[str, Any] | None = None, **server: Any
) -> HttpConfig:
    return HttpConfig(
        client=ClientConfig(model=model, name="fake-model", max_model_len=256, seed=0),
        dtype="float32",
        server=ServerConfig(port=0, **server),
        engine=EngineConfig(**(engine or {})),
    )


@asynccontextmanager
async def served(client: FakeClient, config: HttpConfig | None = None) -> AsyncIterator[str]:
    """The app on a free port; yields its base URL."""
    settings = config or http_config()
    listener = open_listener(settings.server)
    port = listener.getsockname()[1]
    client.draining = False
    app = make_app(client, settings)  # type: ignore[arg-type]
    tls = None if settings.server.tls is None else context_of(settings.server.tls)
    runner = await serve_on(app, listener, limits_of(settings.server), tls)
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
    finally:
        await close(app, runner, 1.0)


async def post(url: str, path: str, body: Any, **more: Any) -> tuple[int, Any, Mapping[str, str]]:
    """Status, JSON body and headers of one POST."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}{path}", json=body, **more) as response,
    ):
        return response.status, await response.json(), response.headers


async def stream_bytes(url: str, path: str, body: Any) -> bytes:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}{path}", json={**body, "stream": True}) as response,
    ):
        assert response.status == 200
        return await response.read()
