"""The shell with an encoder of its own: leases, answers, bad items, deaths; real shared memory."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import torch

from thespis.actors.encoder_cache import batching
from thespis.actors.encoder_cache.actor import EncoderCache
from thespis.actors.kernel.launch import Launch
from thespis.gpu_runtime.models.encoding import Encodes, Tensors
from thespis.protocol.config.roles import EncoderCacheConfig, Threads
from thespis.protocol.edges.control import Gone
from thespis.protocol.edges.encoder_cache_to_preprocessor import FeaturesRead
from thespis.protocol.edges.encoder_cache_to_scheduler import EmbeddingReady, EncodeFailed, Lost
from thespis.protocol.edges.preprocessor_to_encoder_cache import Features
from thespis.protocol.edges.scheduler_to_encoder_cache import Need, Release
from thespis.protocol.facts import KvGroup, ModelFacts
from thespis.protocol.memory.blobs import Arena, BlobReader, BlobRef

from ..shells import Sent, acting

HIDDEN = 8
INFO = ModelFacts(
    path="", model_type="fake", layers=1, hidden=HIDDEN, vocab=16, context=64,
    kv_groups=(KvGroup(layers=(0,), kv_heads=1, key_dim=8, value_dim=8),),
    eos_token_ids=(), dtype="float32", fingerprint="",
)  # fmt: skip
WRITER = "decode-worker-0.0"


class FakeEncoder:
    """Row r of an item is its first feature plus r; negative features raise, NaN stays NaN."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def encode(self, kind: str, items: list[Tensors], rows: list[int]) -> list[torch.Tensor]:
        assert self.gate.wait(10)
        self.batches.append(len(items))
        if any(float(item["pixel_values"][0]) < 0 for item in items):
            raise ValueError("negative")
        return [
            item["pixel_values"][0]
            + torch.arange(len(item["pixel_values"]))[:, None].expand(-1, HIDDEN)
            for item in items
        ]


class Cache(EncoderCache):
    fake = FakeEncoder()

    def load(self, config: EncoderCacheConfig) -> Encodes:
        return self.fake


class Stage:
    """One encoder-cache and the hands of its neighbours."""

    def __init__(self, cache: Cache, sent: Sent, arena: Arena, run_dir: Path) -> None:
        self.cache, self.sent, self.arena = cache, sent, arena
        self.reader = BlobReader(run_dir)

    def features(self, key: str, value: float, rows: int = 2, ready: bool = False) -> None:
        data = torch.full((rows, HIDDEN) if ready else (rows,), value, dtype=torch.float32)
        ref = self.arena.put(data.numpy().tobytes(), "float32", tuple(data.shape))
        message = Features(
            "r",
            "client-a.0",
            key,
            "image",
            rows,
            {"embeds" if ready else "pixel_values": ref},
            ready,
        )
        self.cache.on_message("preprocessor", message)

    def need(self, holder: str, *keys: str, rows: int = 2, later: bool = False) -> None:
        made_later = keys if later else ()
        self.cache.on_message("scheduler", Need(holder, keys, (rows,) * len(keys), made_later))

    def embedding(self, ref: BlobRef) -> torch.Tensor:
        return torch.frombuffer(
            bytearray(self.reader.view(ref)), dtype=getattr(torch, ref.dtype)
        ).reshape(ref.shape)


def config_of(**changes: object) -> EncoderCacheConfig:
    config = EncoderCacheConfig(
        model=INFO,
        dtype="float32",
        device="cpu",
        threads=Threads(1, 1, 1),
        native_kernels=True,
        store_bytes=1 << 20,
        max_batch_rows=8,
    )
    return msgspec.structs.replace(config, **changes)


@asynccontextmanager
async def stage(run_dir: Path, **changes: object) -> AsyncIterator[Stage]:
    cache = Cache(Launch("encoder-cache", 0, str(run_dir), ""))
    cache.fake = FakeEncoder()
    arena = Arena(run_dir, WRITER, 1 << 26)
    try:
        async with acting(cache, config_of(**changes)) as sent:
            here = Stage(cache, sent, arena, run_dir)
            yield here
            here.reader.close()
    finally:
        arena.close()


async def test_an_item_is_encoded_once_and_read_by_two(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        here.features("a", 3.0)
        here.need("x", "a")
        [ready] = await here.sent.until(EmbeddingReady)
        assert here.sent.of(FeaturesRead) == [FeaturesRead(("a",))]
        here.need("y", "a")
        _, again = await here.sent.until(EmbeddingReady, 2)
        assert ready.timing is not None
        assert (again.timing, again.blob) == (None, ready.blob)
        assert here.embedding(ready.blob)[:, 0].tolist() == [3.0, 4.0]
        assert ready.timing.stage == "encode"
        counters = here.cache.counters()
        assert (counters["encoded_items"], counters["encoder_hits"]) == (1, 1)


async def test_what_waits_is_encoded_together_within_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "BATCH_SECONDS", 1000.0)  # the first waits for the test
    async with stage(tmp_path) as here:
        here.cache.fake.gate.clear()
        here.features("first", 0.0)
        here.need("x", "first")
        await here.sent.until(FeaturesRead)
        for key in "abcde":
            here.features(key, 1.0)
        here.need("y", *"abcde")
        here.cache.fake.gate.set()
        await here.sent.until(EmbeddingReady, 6)
        assert here.cache.fake.batches == [1, 4, 1]


async def test_messages_are_handled_while_a_batch_is_encoded(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        here.features("a", 0.0)
        here.need("x", "a")
        await here.sent.until(EmbeddingReady)
        here.cache.fake.gate.clear()
        here.features("b", 0.0)
        here.need("x", "b")
        here.need("y", "a")
        assert len(here.sent.of(EmbeddingReady)) == 2
        here.cache.fake.gate.set()


@pytest.mark.parametrize(
    ("value", "kind"), [(-1.0, "internal"), (float("nan"), "unprocessable_media")]
)
async def test_a_bad_item_costs_itself_alone(tmp_path: Path, value: float, kind: str) -> None:
    async with stage(tmp_path) as here:
        for key, number in (("a", 1.0), ("bad", value), ("c", 2.0)):
            here.features(key, number)
        here.need("x", "a", "bad", "c")
        assert {ready.key for ready in await here.sent.until(EmbeddingReady, 2)} == {"a", "c"}
        [failed] = await here.sent.until(EncodeFailed)
        assert (failed.key, failed.holders, failed.failure.kind) == ("bad", ("x",), kind)
        assert here.cache.counters()["failed"] == 1


async def test_an_embedding_of_the_wrong_size_fails(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        here.need("x", "a", rows=2)
        here.features("a", 1.0, rows=3)
        [failed] = await here.sent.until(EncodeFailed)
        assert failed.failure.kind == "internal"


async def test_a_ready_embedding_is_copied_into_the_store(tmp_path: Path) -> None:
    async with stage(tmp_path, dtype="bfloat16") as here:
        here.features("a", 1.5, ready=True)
        here.need("x", "a")
        [ready] = await here.sent.until(EmbeddingReady)
        assert (ready.blob.dtype, ready.blob.shape) == ("bfloat16", (2, HIDDEN))
        assert here.embedding(ready.blob).eq(1.5).all()
        assert here.cache.fake.batches == []


async def test_space_is_reused_when_holders_release(tmp_path: Path) -> None:
    async with stage(tmp_path, store_bytes=3 * 2 * HIDDEN * 4) as here:
        for index in range(12):
            here.features(f"k{index}", float(index))
            here.need(f"h{index}", f"k{index}")
            await here.sent.until(EmbeddingReady, index + 1)
            here.cache.on_message("scheduler", Release(f"h{index}"))
        counters = here.cache.counters()
        assert (counters["evicted"], counters["entries"], counters["bytes_used"]) == (9, 3, 192)
        assert here.cache.embeddings.bytes_used == 192


async def test_features_that_are_gone_are_lost(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        here.features("a", 1.0)
        here.arena.close()
        here.need("x", "a")
        assert await here.sent.until(Lost) == [Lost("a", ("x",))]


async def test_a_dead_worker_loses_what_waits_for_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        here.cache.fake.gate.clear()
        here.features("a", 1.0)
        here.need("x", "a")
        await here.sent.until(FeaturesRead)
        here.features("b", 1.0)
        here.need("x", "b")
        here.cache.on_gone(Gone("decode-worker-0", 0))
        assert here.sent.of(Lost) == [Lost("b", ("x",))]
        here.cache.fake.gate.set()
        assert [ready.key for ready in await here.sent.until(EmbeddingReady)] == ["a"], (
            "a was copied before"
        )


async def test_holders_end_with_the_scheduler(tmp_path: Path) -> None:
    async with stage(tmp_path, store_bytes=2 * HIDDEN * 4) as here:
        here.features("a", 1.0)
        here.need("x", "a")
        await here.sent.until(EmbeddingReady)
        here.cache.on_gone(Gone("scheduler", 0))
        here.features("b", 2.0)
        here.need("y", "b")
        assert [ready.key for ready in await here.sent.until(EmbeddingReady, 2)] == ["a", "b"]


async def test_features_of_a_request_that_is_over_are_given_back_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        here.features("a", 1.0)
        here.cache.on_end(("r",))
        here.cache.on_end(("r",))
        here.features("b", 1.0)
        assert here.sent.of(FeaturesRead) == [FeaturesRead(("a",)), FeaturesRead(("b",))]
        assert here.cache.counters()["features_waiting"] == 0


async def test_features_of_a_client_that_is_gone_are_given_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        here.features("a", 1.0)
        here.cache.peers.gone(Gone("client-a", 0))
        here.cache.on_gone(Gone("client-a", 0))
        assert here.sent.of(FeaturesRead) == [FeaturesRead(("a",))]
        here.features("b", 1.0)  # the preprocessor heard of it later
        assert here.sent.of(FeaturesRead)[1:] == [FeaturesRead(("b",))]
        assert here.cache.counters()["features_waiting"] == 0
