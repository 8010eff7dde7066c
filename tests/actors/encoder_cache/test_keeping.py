"""The shell with a folder: what one encoder-cache has made its successor reads, into the arena and
past the encoder; what cannot be read is encoded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from thespis.protocol.config.roles import DiskTier
from thespis.protocol.edges.client_to_encoder_cache import Pin, Unpin
from thespis.protocol.edges.encoder_cache_to_client import Pinned
from thespis.protocol.edges.encoder_cache_to_preprocessor import (
    FeaturesRead,
    FeaturesWanted,
    Recalled,
)
from thespis.protocol.edges.encoder_cache_to_scheduler import EmbeddingReady, Lost
from thespis.protocol.edges.preprocessor_to_encoder_cache import Features, Kept, Recall
from thespis.protocol.edges.scheduler_to_encoder_cache import Release
from thespis.protocol.errors import EngineError
from thespis.protocol.refusals import NO_FOLDER, NOT_KEPT

from .disk.kept import NAME, OTHER, files, item
from .test_actor import HIDDEN, Stage, stage


@asynccontextmanager
async def keeping(run_dir: Path, **changes: Any) -> AsyncIterator[Stage]:
    disk = DiskTier(folder=str(run_dir / "folder"), max_bytes=1 << 20)
    async with stage(run_dir, disk=disk, **changes) as here:
        yield here


def features(here: Stage, name: str, value: float, rows: int = 2) -> None:
    """Of an item of one part that is to be kept."""
    data = np.full(rows, value, "<f4").tobytes()
    tensors = {"pixel_values": here.arena.put(data, "float32", (rows,))}
    kept = Kept(name, item(rows, name, planes=None))
    made = Features("r", "client-a.0", name, "image", rows, tensors, False, kept)
    here.cache.on_message("preprocessor", made)


async def make(here: Stage, name: str, value: float = 3.0) -> None:
    before = len(here.sent.of(EmbeddingReady))
    features(here, name, value)
    here.need(f"maker of {name}", name)
    await here.sent.until(EmbeddingReady, before + 1)
    here.cache.on_message("scheduler", Release(f"maker of {name}"))


async def recall(here: Stage, key: str, name: str = "") -> Recalled:
    before = len(here.sent.of(Recalled))
    here.cache.on_message("preprocessor", Recall(key, name or key))
    found: Recalled = (await here.sent.until(Recalled, before + 1))[-1]
    return found


async def written(here: Stage, count: int) -> None:
    with anyio.fail_after(10):
        while here.cache.counters()["disk_written"] < count:
            await asyncio.sleep(0.005)


async def test_a_successor_reads_what_was_made(tmp_path: Path) -> None:
    async with keeping(tmp_path) as here:
        assert (await recall(here, NAME)).item is None
        await make(here, NAME)
        # known at once, written or not
        assert (await recall(here, NAME)).item == item(key=NAME, planes=None)
    async with keeping(tmp_path) as here:
        found = await recall(here, "called now", NAME)
        assert found.item is not None
        assert [part.key for part in found.item.parts] == ["called now"]
        here.need("x", "called now")
        [ready] = await here.sent.until(EmbeddingReady)
        assert here.embedding(ready.blob)[:, 0].tolist() == [3.0, 4.0]
        assert here.cache.fake.batches == []
        counters = here.cache.counters()
        assert (counters["disk_hits"], counters["encoder_hits"], counters["encoded_items"]) == (
            1, 1, 0,
        )  # fmt: skip


async def test_a_page_that_is_asked_for_is_found_by_its_name_on_disk(tmp_path: Path) -> None:
    """It is asked for before anybody knows what it is called there: who would draw it says so."""
    async with keeping(tmp_path) as here:
        await make(here, NAME)
    async with keeping(tmp_path) as here:
        here.need("x", "page", rows=2, later=True)
        [wanted] = await here.sent.until(FeaturesWanted)
        assert wanted.keys == ("page",)
        assert (await recall(here, "page", OTHER)).item is None, "so it is drawn"
        assert here.sent.of(EmbeddingReady) == []
        assert (await recall(here, "page", NAME)).item is not None
        [ready] = await here.sent.until(EmbeddingReady)
        assert here.embedding(ready.blob)[:, 0].tolist() == [3.0, 4.0]
        assert here.cache.fake.batches == []
        here.cache.on_message("scheduler", Release("x"))
        assert here.cache.counters()["pinned"] == 0


@pytest.mark.parametrize("harm", ["rows", "flipped"])
async def test_a_page_whose_file_is_not_right_is_drawn(tmp_path: Path, harm: str) -> None:
    async with keeping(tmp_path) as here:
        await make(here, NAME)
    if harm == "flipped":
        (path,) = files(tmp_path / "folder")
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    async with keeping(tmp_path) as here:
        here.need("x", "page", rows=2 if harm == "flipped" else 3, later=True)
        await here.sent.until(FeaturesWanted)
        assert (await recall(here, "page", NAME)).item is None
        data = np.full(3, 7.0, "<f4").tobytes()
        rows = 2 if harm == "flipped" else 3
        tensors = {"pixel_values": here.arena.put(data[: 4 * rows], "float32", (rows,))}
        here.cache.on_message(
            "preprocessor", Features("r", "client-a.0", "page", "image", rows, tensors)
        )
        [ready] = await here.sent.until(EmbeddingReady)
        assert here.embedding(ready.blob)[0, 0] == 7.0


async def test_what_had_to_leave_memory_is_read_again(tmp_path: Path) -> None:
    async with keeping(tmp_path, store_bytes=2 * HIDDEN * 4) as here:
        await make(here, NAME, 3.0)
        await written(here, 1)
        await make(here, OTHER, 5.0)
        await written(here, 2)
        assert here.cache.counters()["evicted"] == 1
        here.need("x", NAME)
        ready = (await here.sent.until(EmbeddingReady, 3))[-1]
        assert here.embedding(ready.blob)[:, 0].tolist() == [3.0, 4.0]
        # There is no room for another: it is known, and its rows are read when there is.
        assert (await recall(here, OTHER)).item is not None
        here.need("y", OTHER)
        here.cache.on_message("scheduler", Release("x"))
        ready = (await here.sent.until(EmbeddingReady, 4))[-1]
        assert here.embedding(ready.blob)[:, 0].tolist() == [5.0, 6.0]
        assert len(here.cache.fake.batches) == 2


@pytest.mark.parametrize("harm", ["cut", "gone", "flipped"])
async def test_what_cannot_be_read_is_encoded_where_there_are_features(
    tmp_path: Path, harm: str
) -> None:
    async with keeping(tmp_path, store_bytes=2 * HIDDEN * 4) as here:
        await make(here, NAME, 3.0)
        await written(here, 1)
        await make(here, OTHER, 5.0)
        path = next(path for path in files(tmp_path / "folder") if path.name.endswith(NAME))
        data = path.read_bytes()
        if harm == "gone":
            path.unlink()
        else:
            path.write_bytes(data[:-5] if harm == "cut" else data[:-1] + b"\xff")
        features(here, NAME, 3.0)
        here.need("x", NAME)
        ready = (await here.sent.until(EmbeddingReady, 3))[-1]
        assert here.embedding(ready.blob)[:, 0].tolist() == [3.0, 4.0]
        assert len(here.cache.fake.batches) == 3
        assert sorted(key for read in here.sent.of(FeaturesRead) for key in read.keys) == sorted(
            [NAME, OTHER, NAME]
        )


async def test_without_features_it_is_lost_and_not_known_any_more(tmp_path: Path) -> None:
    async with keeping(tmp_path) as here:
        await make(here, NAME)
    async with keeping(tmp_path, store_bytes=2 * HIDDEN * 4) as here:
        await make(here, OTHER)
        here.need("x", OTHER)
        await here.sent.until(EmbeddingReady, 2)
        assert (await recall(here, NAME)).item is not None  # there is no room for its rows
        for path in files(tmp_path / "folder"):
            path.write_bytes(b"damaged")
        here.need("y", NAME)
        here.cache.on_message("scheduler", Release("x"))
        assert await here.sent.until(Lost) == [Lost(NAME, ("y",))]
        assert (await recall(here, NAME)).item is None


async def test_a_reset_forgets_the_disk_and_what_is_in_hand(tmp_path: Path) -> None:
    async with keeping(tmp_path) as here:
        await make(here, NAME)
        await written(here, 1)
        here.cache.fake.gate.clear()
        features(here, OTHER, 1.0)
        here.need("x", OTHER)
        await here.sent.until(FeaturesRead, 2)
        here.cache.on_reset("media", 1)
        here.cache.fake.gate.set()
        await here.sent.until(EmbeddingReady, 2)
        for name in (NAME, OTHER):
            assert (await recall(here, name)).item is None
    assert files(tmp_path / "folder") == []


async def test_without_a_folder_nothing_is_known(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        features(here, NAME, 1.0)
        here.need("x", NAME)
        await here.sent.until(EmbeddingReady)
        assert (await recall(here, OTHER)).item is None
        assert "disk_hits" not in here.cache.counters()


async def ask(here: Stage, question: Pin | Unpin) -> Pinned:
    before = len(here.sent.of(Pinned))
    here.cache.on_message("http", question)
    told: Pinned = (await here.sent.until(Pinned, before + 1))[-1]
    return told


async def test_who_pins_is_answered(tmp_path: Path) -> None:
    owner = "ef" * 32
    async with keeping(tmp_path) as here:
        await make(here, NAME)
        assert await ask(here, Pin("a", "http.0", "", owner, NAME, None)) == Pinned("a", None)
        found = await ask(here, Pin("b", "http.0", "", owner, OTHER, None))
        assert found == Pinned("b", NOT_KEPT), "what it had pinned stays pinned"
        assert len(list((tmp_path / "folder").rglob("pins/*"))) == 1
        assert await ask(here, Unpin("c", "http.0", owner)) == Pinned("c", None)
        assert list((tmp_path / "folder").rglob("pins/*")) == []


async def test_without_a_folder_nothing_is_pinned(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        pinned = await ask(here, Pin("a", "http.0", "", "ef" * 32, NAME, None))
        assert pinned == Pinned("a", NO_FOLDER)
        assert await ask(here, Unpin("b", "http.0", "ef" * 32)) == Pinned("b", None)


async def test_a_folder_that_cannot_be_used_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("no folder")
    with pytest.raises((EngineError, ExceptionGroup)) as ended:
        async with keeping(tmp_path):
            pass
    error: BaseException = ended.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert "encoder_cache_dir" in str(error)
