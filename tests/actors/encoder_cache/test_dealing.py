"""The shell and a real encode worker beside it, whose messages the test passes on: what one gets,
what becomes of it, and that neither's death nor a torn copy costs an answer."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from thespis.actors.encode_worker.actor import EncodeWorker, device_of
from thespis.actors.kernel.launch import Launch
from thespis.frontends.openai.engine_metrics import COUNTS
from thespis.gpu_runtime.models.encoding import Encodes
from thespis.protocol.config.roles import EncoderCacheConfig, encode_config
from thespis.protocol.edges.control import Excuse, Gone, Peer
from thespis.protocol.edges.encode_worker_to_encoder_cache import BatchEncoded, Copied, EncodedItem
from thespis.protocol.edges.encoder_cache_to_encode_worker import (
    EmbeddingsTaken,
    Encode,
    Proceed,
    first_number,
)
from thespis.protocol.edges.encoder_cache_to_preprocessor import FeaturesRead
from thespis.protocol.edges.encoder_cache_to_scheduler import EmbeddingReady, EncodeFailed, Lost
from thespis.protocol.wire import Decoder, Message, encode

from .test_actor import FakeEncoder, Stage, config_of, stage

WORKER = "encode-worker-1"
PEER = Peer(1, 1, "ipc://x", "ipc://y")


class Worker(EncodeWorker):
    def load(self, config: EncoderCacheConfig) -> Encodes:
        return FakeEncoder()


class Hands:
    """A worker, and what it sent."""

    def __init__(self, run_dir: Path, epoch: int = 1) -> None:
        self.actor = Worker(Launch(WORKER, epoch, str(run_dir), ""))
        self.sent: list[Any] = []
        self.actor.send = self._send  # type: ignore[method-assign]
        self.actor.on_start(encode_config(config_of()))

    def _send(self, name: str, message: Message, after: int = -1) -> bool:
        assert name == "encoder-cache"
        self.sent.append(Decoder[Any](type(message)).decode(encode(message)))
        return True

    def hear(self, message: Message) -> Any:
        """What it says to that."""
        self.actor.on_message("encoder-cache", message)
        return self.sent.pop() if self.sent else None

    @property
    def used(self) -> float:
        return self.actor.counters()["arena_bytes_used"]

    def close(self) -> None:
        self.actor.on_stop()
        self.actor.link.close()
        self.actor.context.term()


@contextmanager
def worker(run_dir: Path, epoch: int = 1) -> Iterator[Hands]:
    hands = Hands(run_dir, epoch)
    yield hands
    hands.close()


@asynccontextmanager
async def busy(run_dir: Path, keys: str = "bc") -> AsyncIterator[Stage]:
    """An encoder-cache that encodes `a`, with others in its queue, and a worker that has joined."""
    async with stage(run_dir) as here:
        here.cache.fake.gate.clear()
        here.features("a", 1.0)
        here.need("x", "a")
        await here.sent.until(FeaturesRead)
        for key in keys:
            here.features(key, float(ord(key)))
        if keys:
            here.need("x", *keys)
        here.cache.on_peer(WORKER, PEER)
        yield here
        here.cache.fake.gate.set()


def excuses(here: Stage) -> list[Any]:
    """What the encoder-cache tells the director from now on."""
    told: list[Any] = []

    def send(message: Message) -> None:
        told.append(message)

    here.cache.link.send = send  # type: ignore[method-assign]
    return told


async def test_a_worker_gets_what_waits_and_its_embeddings_are_as_those_made_here(
    tmp_path: Path,
) -> None:
    async with busy(tmp_path) as here:
        [job] = here.sent.to(WORKER, Encode)
        assert [item.rows for item in job.items] == [2, 2]
        assert here.cache.counters()["encode_workers_busy"] == 1
        with worker(tmp_path) as hands:
            here.cache.on_message(WORKER, hands.hear(job))
            [proceed] = here.sent.to(WORKER, Proceed)
            assert here.sent.of(FeaturesRead) == [FeaturesRead(("a",))], "kept for the case"
            here.cache.on_message(WORKER, hands.hear(proceed))
            assert here.sent.of(FeaturesRead)[1:] == [FeaturesRead(("b",)), FeaturesRead(("c",))]
            assert hands.used > 0
            assert hands.hear(here.sent.to(WORKER, EmbeddingsTaken)[0]) is None
            assert hands.used == 0
            assert hands.actor.counters()["encoded_items"] == 2
        made = await here.sent.until(EmbeddingReady, 2)
        assert [one.key for one in made] == ["b", "c"]
        assert here.embedding(made[0].blob)[:, 0].tolist() == [98.0, 99.0]
        assert made[0].timing.detail == f"image, 4 rows encoded in a batch of 2 by {WORKER}"
        here.cache.fake.gate.set()
        await here.sent.until(EmbeddingReady, 3)
        counters = here.cache.counters()
        assert (counters["encoded_items"], counters["encoded_batches"]) == (3, 2)
        assert (counters["encode_workers"], counters["encode_workers_busy"]) == (1, 0)


async def test_nothing_is_dealt_while_the_encoder_cache_itself_rests(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        here.cache.on_peer(WORKER, PEER)
        for key in "abc":
            here.features(key, 1.0)
            here.need(key, key)
            await here.sent.until(EmbeddingReady, "abc".index(key) + 1)
        assert here.sent.to(WORKER, Encode) == []


async def test_two_pictures_of_one_prompt_are_one_for_each(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        here.cache.on_peer(WORKER, PEER)
        here.need("x", "a", "b")
        here.cache.fake.gate.clear()
        here.features("a", 1.0)
        here.features("b", 2.0)
        await here.sent.until(Encode)
        [job] = here.sent.to(WORKER, Encode)
        assert len(job.items) == 1
        here.cache.fake.gate.set()
        [ready] = await here.sent.until(EmbeddingReady)
        assert ready.key == "a"


@pytest.mark.parametrize("when", ["copying", "encoding"])
async def test_what_a_worker_died_with_is_encoded_here_and_by_no_other(
    tmp_path: Path, when: str
) -> None:
    async with busy(tmp_path) as here:
        told = excuses(here)
        if when == "encoding":
            with worker(tmp_path) as hands:
                here.cache.on_message(WORKER, hands.hear(here.sent.to(WORKER, Encode)[0]))
        here.cache.on_gone(Gone(WORKER, 1))
        here.cache.on_gone(Gone(WORKER, 1))
        assert told == [Excuse(WORKER, (1,))], "it had work in hand, which is judged here"
        here.cache.on_peer("encode-worker-2", PEER)
        assert here.sent.to("encode-worker-2", Encode) == []
        here.cache.fake.gate.set()
        made = await here.sent.until(EmbeddingReady, 3)
        assert [one.key for one in made] == ["a", "b", "c"]
        assert here.sent.of(Lost) == []


@pytest.mark.parametrize("outside", [True, False])
async def test_a_death_with_nothing_in_hand_or_from_outside_is_not_excused(
    tmp_path: Path, outside: bool
) -> None:
    async with busy(tmp_path, keys="b" if outside else "") as here:
        told = excuses(here)
        here.cache.on_gone(Gone(WORKER, 1, outside))
        assert told == []


async def test_a_torn_copy_is_not_encoded(tmp_path: Path) -> None:
    """Its bytes were given back while the worker read them."""
    async with busy(tmp_path) as here:
        here.cache.on_end(("r",))  # whose features all of these are
        with worker(tmp_path) as hands:
            here.cache.on_message(WORKER, hands.hear(here.sent.to(WORKER, Encode)[0]))
            [proceed] = here.sent.to(WORKER, Proceed)
            assert proceed.places == ()
            answer = hands.hear(proceed)
            assert answer.items == ()
            here.cache.on_message(WORKER, answer)
            assert hands.actor.counters()["encoded_batches"] == 0
        assert [lost.key for lost in here.sent.of(Lost)] == ["b", "c"]
        assert here.cache.counters()["encode_workers_busy"] == 0


async def test_features_that_a_worker_cannot_read_are_lost(tmp_path: Path) -> None:
    async with busy(tmp_path) as here:
        here.arena.close()
        with worker(tmp_path) as hands:
            here.cache.on_message(WORKER, hands.hear(here.sent.to(WORKER, Encode)[0]))
            here.cache.on_message(WORKER, hands.hear(here.sent.to(WORKER, Proceed)[0]))
        assert [lost.key for lost in here.sent.of(Lost)] == ["b", "c"]


async def test_a_bad_item_costs_itself_alone_in_a_worker_too(tmp_path: Path) -> None:
    async with busy(tmp_path, keys="") as here:
        here.cache.on_gone(Gone(WORKER, 1))
        for key, number in (("b", 1.0), ("bad", -1.0), ("c", 2.0)):
            here.features(key, number)
        here.need("x", "b", "bad", "c")
        here.cache.on_peer(WORKER, PEER)
        with worker(tmp_path) as hands:
            here.cache.on_message(WORKER, hands.hear(here.sent.to(WORKER, Encode)[0]))
            here.cache.on_message(WORKER, hands.hear(here.sent.to(WORKER, Proceed)[0]))
        assert [one.key for one in here.sent.of(EmbeddingReady)] == ["b", "c"]
        [failed] = here.sent.of(EncodeFailed)
        assert (failed.key, failed.failure.kind) == ("bad", "internal")


async def test_embeddings_of_a_worker_that_has_died_since_are_made_again(tmp_path: Path) -> None:
    async with busy(tmp_path, keys="b") as here:
        with worker(tmp_path) as hands:
            here.cache.on_message(WORKER, hands.hear(here.sent.to(WORKER, Encode)[0]))
            answer = hands.hear(here.sent.to(WORKER, Proceed)[0])
        here.cache.on_message(WORKER, answer)
        assert here.sent.of(Lost) == []
        here.cache.fake.gate.set()
        made = await here.sent.until(EmbeddingReady, 2)
        assert here.embedding(made[1].blob)[:, 0].tolist() == [98.0, 99.0]


async def test_an_answer_to_a_question_of_a_former_encoder_cache_is_given_back(
    tmp_path: Path,
) -> None:
    async with busy(tmp_path) as here:
        here.cache.on_message(WORKER, Copied(7))
        here.cache.on_message(WORKER, BatchEncoded(8, (EncodedItem(),), 0.0, 1.0))
        assert here.sent.to(WORKER, EmbeddingsTaken) == [EmbeddingsTaken(7), EmbeddingsTaken(8)]
        assert here.cache.counters()["encode_workers_busy"] == 1
        assert here.sent.of(Lost) == []


async def test_a_worker_forgets_what_a_dead_encoder_cache_asked_for_and_no_more(
    tmp_path: Path,
) -> None:
    async with busy(tmp_path) as here:
        [job] = here.sent.to(WORKER, Encode)
        with worker(tmp_path) as hands:
            for epoch in (1, 2):
                number = first_number(epoch) + 5
                asked = Encode(number, job.modality, job.items)
                assert hands.hear(asked) == Copied(number)
                assert len(hands.hear(Proceed(number, (0, 1))).items) == 2
            used = hands.used
            late = Encode(first_number(1) + 6, job.modality, job.items)
            assert hands.hear(late) == Copied(late.number)
            hands.actor.on_gone(Gone("encoder-cache", 1))
            assert hands.used == used / 2
            assert hands.hear(Proceed(late.number, (0,))) is None
            hands.actor.on_gone(Gone("encoder-cache", 2))
            assert hands.used == 0


def test_what_a_worker_counts_is_counted_as_what_it_is(tmp_path: Path) -> None:
    with worker(tmp_path) as hands:
        assert hands.actor.counters().keys() - COUNTS == {"arena_bytes_used"}


@pytest.mark.parametrize(
    ("count", "ranks", "devices"),
    [
        (1, 1, ["cuda", "cuda"]),
        (2, 1, ["cuda:1", "cuda:0"]),
        (4, 1, ["cuda:1", "cuda:2", "cuda:3", "cuda:0"]),
        (4, 2, ["cuda:2", "cuda:3", "cuda:1", "cuda:0"]),
        (2, 2, ["cuda:1", "cuda:0"]),
    ],
)
def test_encoders_are_on_gpus_of_their_own_while_there_are_any(
    count: int, ranks: int, devices: list[str]
) -> None:
    found = [device_of(number, count, ranks) for number in range(1, len(devices) + 1)]
    assert found == devices
