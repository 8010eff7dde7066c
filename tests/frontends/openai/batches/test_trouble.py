"""Batches when somebody means ill, another server is at work, or something goes wrong."""

import asyncio
import io
import os
from pathlib import Path
from typing import Any

import pytest

from thespis.frontends.openai.batches import running
from thespis.frontends.openai.batches.job import BatchJob
from thespis.frontends.openai.batches.journal import lines_of
from thespis.frontends.openai.batches.lines import MAX_LINES, is_streamed
from thespis.frontends.openai.batches.running import Batches
from thespis.frontends.openai.stored import folder
from thespis.frontends.openai.stored.books import AROUND, Bounds
from thespis.frontends.openai.stored.ids import FILES
from thespis.frontends.openai.stored.store import Store
from thespis.protocol.errors import RequestError

from ..fake import FakeClient, http_config, served
from .test_batches import connect, created, ended, jsonl, line, rows

ANN, BEN = "a" * 32, "b" * 32


def test_what_is_written_at_once_has_one_room(tmp_path: Path) -> None:
    """Of several journals none fills what another has asked for, and who leaves asks for none."""
    store = Store(tmp_path / "data", FILES, Bounds(1000 + AROUND, 1500 + AROUND))
    one, two, other = store.room(ANN), store.room(ANN), store.room(BEN)
    one.grow(400)
    two.grow(400)
    with pytest.raises(RequestError) as raised:
        one.grow(400)
    assert raised.value.failure.code == "storage_full"
    other.grow(700)
    with pytest.raises(RequestError) as raised:
        other.grow(100)
    assert raised.value.status == 503
    two.release()
    two.grow(1 << 30)
    two.release()
    one.grow(400)
    assert one.size == 800
    one.release()
    other.release()
    store.room(ANN).grow(1000)


@pytest.mark.parametrize(
    ("body", "streamed"),
    [
        (b'{"stream":true}', True),
        (b'{"\\u0073tream" : true}', True),
        (b'{"stream":false,"stream":true}', True),
        (b'{"stream":false}', False),
        (b'{"stop":["\\"stream\\":true"]}', False),
        (b"{", False),
    ],
)
def test_a_stream_is_seen_however_it_is_written(body: bytes, streamed: bool) -> None:
    assert is_streamed(body) is streamed


def test_a_file_of_empty_lines_is_not_read_to_its_end() -> None:
    lines = b"\n" * MAX_LINES
    assert list(lines_of(io.BytesIO(lines + b"{}"))) == [(MAX_LINES + 1, b"{}")]
    with pytest.raises(RequestError) as raised:
        list(lines_of(io.BytesIO(lines + b"\n{}")))
    assert raised.value.failure.code == "too_many_lines"


async def test_what_another_server_has_in_hand_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    waiting = Batches._waiting

    def counted(batches: Batches) -> Any:
        nonlocal looks
        looks += 1
        return waiting(batches)

    monkeypatch.setattr(running, "AT_ONCE", 2)
    config = http_config(data_folder=str(tmp_path / "data"), api_key=("sesame",))
    async with served(FakeClient(), config) as url, connect(url) as api:
        with monkeypatch.context() as idle:
            idle.setattr(Batches, "_waiting", lambda batches: [])
            theirs = [await created(api, jsonl(line("a"))) for _ in range(2)]
        places = [next((tmp_path / "data").rglob(batch.id)) for batch in theirs]
        held = [folder.lock(place, wait=False) for place in places]
        monkeypatch.setattr(Batches, "_waiting", counted)
        ours = await ended(api, await created(api, jsonl(line("b"))))
        assert ours.status == "completed", "those that are held take no place"
        await asyncio.sleep(0.2)
        assert looks < 5, "it looks again when there is something to do"
        for fd in held:
            assert fd is not None
            os.close(fd)


async def test_a_batch_of_a_server_that_has_gone_is_another_ones_who_is_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of two replicas one is let go. When both began nothing had ever been stored."""
    monkeypatch.setattr(running, "LOOK_SECONDS", 0.1)
    config = http_config(data_folder=str(tmp_path / "data"), api_key=("sesame",))
    slow = FakeClient()
    slow.pace = 0.05
    async with served(FakeClient(), config) as other, connect(other) as api:
        async with served(slow, config) as url, connect(url) as before:
            batch = await created(before, jsonl(*(line(str(n)) for n in range(40))))
            while not slow.submitted:
                await asyncio.sleep(0.01)
        done = await ended(api, batch)
        assert done.request_counts is not None
        assert (done.status, done.request_counts.completed) == ("completed", 40)


async def test_batches_go_on_after_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, wrong = Batches._waiting, 0

    def failing(batches: Batches) -> Any:
        nonlocal wrong
        wrong += 1
        if wrong == 1:
            raise ValueError("a bug")
        return waiting(batches)

    monkeypatch.setattr(Batches, "_waiting", failing)
    config = http_config(data_folder=str(tmp_path / "data"), api_key=("sesame",))
    async with served(FakeClient(), config) as url, connect(url) as api:
        for name in "ab":
            batch = await created(api, jsonl(line(name)))
            while not wrong:
                await asyncio.sleep(0.01)
        assert (await ended(api, batch)).status == "completed"


@pytest.mark.parametrize("also", ["nothing", "what it has answered"])
async def test_a_batch_that_a_bug_ends_has_failed_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, also: str
) -> None:
    """Its owner would wait for a day, and every look would try it again."""
    answered = BatchJob._one

    async def failing(job: BatchJob, line: Any) -> None:
        if line.custom_id == "b":
            raise TypeError("a bug")
        await answered(job, line)

    async def unstored(job: BatchJob, name: str) -> None:
        raise TypeError("the next bug")

    monkeypatch.setattr(BatchJob, "_one", failing)
    if also != "nothing":
        monkeypatch.setattr(BatchJob, "_stored", unstored)
    config = http_config(data_folder=str(tmp_path / "data"), api_key=("sesame",))
    async with served(FakeClient(), config) as url, connect(url) as api:
        batch = await ended(api, await created(api, jsonl(line("a"), line("b"))))
        assert batch.status == "failed"
        assert batch.failed_at is not None
        assert batch.errors is not None
        assert batch.errors.data is not None
        (error,) = batch.errors.data
        assert (error.code, error.line) == ("internal_error", None)
        assert "bug" not in str(error.message)
        if also == "nothing":
            assert [one["custom_id"] for one in await rows(api, batch.output_file_id)] in (
                [],
                ["a"],
            )
        monkeypatch.setattr(BatchJob, "_one", answered)
        again = (
            await ended(api, await created(api, jsonl(line("b")))) if also == "nothing" else None
        )
        assert again is None or again.status == "completed"
