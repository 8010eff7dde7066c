"""The client before an engine that does not answer: the caller hears of it in words, and nothing is
left of the client."""

import asyncio
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from thespis import LLM, AsyncLLM
from thespis.actors.kernel.launch import director_endpoint
from thespis.frontends.client import connection
from thespis.frontends.client.client import Client
from thespis.frontends.client.connection import NEEDED
from thespis.frontends.client.joining import Joined
from thespis.frontends.client.stream import MOST_UNREAD
from thespis.protocol.config.roles import ClientConfig
from thespis.protocol.edges.control import (
    AskStatus,
    Gone,
    Hello,
    Leave,
    Peer,
    Peers,
    Ready,
    Share,
    Status,
    ToDirector,
    Welcome,
)
from thespis.protocol.edges.detokenizer_to_client import Delta, Deltas, Logprob, PositionLogprobs
from thespis.protocol.edges.preprocessor_to_client import PreparedCopy
from thespis.protocol.errors import EngineError, RequestError
from thespis.protocol.requests.pooling import Pooler, PoolingParams
from thespis.protocol.requests.prepared import Prepared
from thespis.protocol.requests.request import TextPrompt
from thespis.protocol.requests.sampling import SamplingParams
from thespis.protocol.wire import Decoder, Message, encode

from ..openai.fake import MODEL

SILENCE = r"The engine in /.* did not answer within 0\.5 s; see engine\.log there\."
CONFIG = ClientConfig(model=MODEL, name="fake", max_model_len=256, seed=0)


class Director:
    """Answers what is in `answers`, by the type of the question, and nothing else."""

    def __init__(self, run_dir: Path, answers: dict[type[Message], Message]) -> None:
        self.heard: list[Any] = []
        self._answers = answers
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.bind(director_endpoint(run_dir))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        decoder: Decoder[Any] = Decoder(ToDirector)
        while not self._over.is_set():
            if not self._socket.poll(10):
                continue
            sender, data = self._socket.recv_multipart()
            message = decoder.decode(data)
            self.heard.append(message)
            if (answer := self._answers.get(type(message))) is not None:
                self._socket.send_multipart([sender, encode(answer)])

    async def hears(self, kind: type[Message]) -> None:
        """A client that did not leave would keep the engine for ever, and its share of it."""
        async with asyncio.timeout(10):
            while not any(isinstance(message, kind) for message in self.heard):
                await asyncio.sleep(0.01)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._context.destroy(linger=0)


@contextmanager
def director(run_dir: Path, *answers: tuple[type[Message], Message]) -> Iterator[Director]:
    with (run_dir / "lock").open("w+") as lock:
        lock.write(str(os.getpid()))
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        playing = Director(run_dir, dict(answers))
        try:
            yield playing
        finally:
            playing.close()


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("thespis.actors.kernel.link.HELLO_SECONDS", 0.5)


PREPARED = Prepared(
    id="r", attempt=0, client="c", tenant="", arrival=0.0, priority=0,
    token_ids=(1,), items=(), positions=None,
    sampling=SamplingParams(), eos_token_ids=(),
)  # fmt: skip


def welcome(config: ClientConfig = CONFIG) -> tuple[type[Message], Message]:
    return Hello, Welcome(msgspec.json.encode(config), Share(10, 10_000, 1 << 20))


def everybody(run_dir: Path, *more: str) -> tuple[type[Message], Message]:
    """A table of actors whose sockets nobody reads."""
    peers = {
        role: Peer(1, 1, f"ipc://{run_dir}/{role}", f"ipc://{run_dir}/{role}.ctl")
        for role in (*NEEDED, *more)
    }
    return Ready, Peers(peers)


async def test_no_director_answers(tmp_path: Path) -> None:
    with director(tmp_path), pytest.raises(EngineError, match=SILENCE):
        await Client.connect(tmp_path)


async def test_no_actor_comes(tmp_path: Path) -> None:
    with director(tmp_path, welcome()) as playing:
        with pytest.raises(EngineError, match=SILENCE):
            await Client.connect(tmp_path)
        await playing.hears(Leave)


async def test_whoever_does_not_wait_for_the_answer_leaves(tmp_path: Path) -> None:
    with director(tmp_path) as playing:
        joining = asyncio.create_task(Client.connect(tmp_path))
        await playing.hears(Hello)
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
        await playing.hears(Leave)


async def test_whoever_cannot_listen_leaves(tmp_path: Path) -> None:
    (tmp_path / "client-a.0.sock").touch()
    with director(tmp_path, welcome()) as playing:
        with pytest.raises(FileExistsError):
            await Client.connect(tmp_path, "a")
        await playing.hears(Leave)


async def test_the_faces_say_the_same(tmp_path: Path) -> None:
    with director(tmp_path):
        with pytest.raises(EngineError, match=SILENCE):
            LLM(run_dir=tmp_path)
        with pytest.raises(EngineError, match=SILENCE):
            await AsyncLLM(run_dir=tmp_path).start()


async def test_a_question_is_not_answered(tmp_path: Path) -> None:
    with director(tmp_path, welcome(), everybody(tmp_path)):
        async with await Client.connect(tmp_path) as client:
            with pytest.raises(EngineError, match=SILENCE):
                await client.status()
            with pytest.raises(EngineError, match=SILENCE):
                await client.tokenize(TextPrompt("Hello"))


async def test_a_pin_is_not_waited_for_when_who_keeps_it_has_died(tmp_path: Path) -> None:
    cache = "encoder-cache"
    with director(tmp_path, welcome(), everybody(tmp_path, cache), (AskStatus, Gone(cache, 1))):
        async with await Client.connect(tmp_path) as client:
            asked = asyncio.gather(
                client.pin("", "owner", "name"), client.unpin("owner"), return_exceptions=True
            )
            with pytest.raises(EngineError, match=SILENCE):
                await client.status()
            for error in [
                *await asked,
                *await asyncio.gather(
                    client.pin("", "owner", "name"), client.unpin("owner"), return_exceptions=True
                ),
            ]:
                assert isinstance(error, RequestError)
                assert error.failure.code == "restarted"


@pytest.mark.parametrize(("gave_up", "code"), [(True, "engine_dead"), (False, "shutting_down")])
async def test_requests_are_told_whether_the_engine_failed_or_was_stopped(
    tmp_path: Path, gave_up: bool, code: str
) -> None:
    """The HTTP server drains before either end, so that it takes nothing new."""
    end = Status(False, {}, {}, {}, {}, fatal="It is over.", gave_up=gave_up)
    with director(tmp_path, welcome(), everybody(tmp_path), (AskStatus, end)):
        async with await Client.connect(tmp_path) as client:
            stream = await client.submit(TextPrompt("Hello"))
            client.drain()
            await client.status()
            with pytest.raises(RequestError) as ended:
                await anext(stream)
            assert ended.value.failure.code == code


async def test_a_client_that_has_left_reads_no_more(tmp_path: Path) -> None:
    """Its loop may have had a turn of that in hand."""
    with director(tmp_path, welcome(), everybody(tmp_path)):
        client = await Client.connect(tmp_path)
        await client.close()
        assert isinstance(client._connection, Joined)
        for pump in client._connection._pumps:
            pump.drain()


async def test_a_request_that_is_over_leaves_nothing(tmp_path: Path) -> None:
    with director(tmp_path, welcome(), everybody(tmp_path)):
        async with await Client.connect(tmp_path) as client:
            stream = await client.submit(TextPrompt("Hello"), deadline=time.monotonic() + 3600)
            (entry,) = client._ledger.live_ones()
            await client.cancel(stream.id)
            client._dispatcher.hear(
                PreparedCopy(msgspec.structs.replace(PREPARED, id=stream.id), submitted_to=1)
            )
            assert entry.expiry is not None
            assert entry.expiry.cancelled()
            assert client._delivery._submitted == set()


async def test_log_probabilities_do_not_wait_without_end_for_a_caller_who_does_not_read(
    tmp_path: Path,
) -> None:
    """Fifty alternatives for each token of 128 choices would be gigabytes of the server's."""
    score = Logprob(5, -0.5, 1, "a", b"a")
    scores = (PositionLogprobs(score, (score,) * 49),) * 1000
    with director(tmp_path, welcome(), everybody(tmp_path)):
        async with await Client.connect(tmp_path) as client:
            stream = await client.submit(
                TextPrompt("Hello"), wanted=SamplingParams(max_tokens=None, logprobs=49)
            )
            client._dispatcher.hear(
                PreparedCopy(msgspec.structs.replace(PREPARED, id=stream.id), submitted_to=1)
            )
            for n in range(MOST_UNREAD // 50_000):
                client._dispatcher.hear(
                    Deltas((Delta(stream.id, 0, 0, 1000 * n, n, (5,) * 1000, "a", scores),))
                )
            assert not stream.ended
            assert len((await anext(stream)).choices[0].logprobs) == 1000 * (n + 1)
            for more in range(n + 1, 2 * n + 4):  # from here on nobody reads
                client._dispatcher.hear(
                    Deltas((Delta(stream.id, 0, 0, 1000 * more, more, (5,) * 1000, "a", scores),))
                )
            assert stream.ended
            assert client._ledger.live(stream.id) is None
            assert len((await anext(stream)).choices[0].logprobs) <= MOST_UNREAD // 50 + 1000
            with pytest.raises(RequestError) as refused:
                await anext(stream)
            assert refused.value.failure.code == "not_read"


async def test_vectors_are_not_read_as_they_come(tmp_path: Path) -> None:
    """Whoever computes them need not hold a step short, nor wait for company, for the sake of a
    stream."""
    model = msgspec.structs.replace(MODEL, output="vector", pooler=Pooler())
    with director(
        tmp_path, welcome(msgspec.structs.replace(CONFIG, model=model)), everybody(tmp_path)
    ):
        async with await Client.connect(tmp_path) as client:
            await client.submit(TextPrompt("Hello"), wanted=PoolingParams())
            assert [entry.request.streamed for entry in client._ledger.live_ones()] == [False]


async def test_what_is_not_started_says_so() -> None:
    llm = AsyncLLM()
    with pytest.raises(RuntimeError, match="AsyncLLM is not started"):
        _ = llm.run_dir
    with pytest.raises(RuntimeError, match="AsyncLLM is not started"):
        await llm.status()
