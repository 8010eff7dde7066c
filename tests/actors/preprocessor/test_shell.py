"""The shell: what it asks of workers, what it sends where, and that nothing stays when a request is
over."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from thespis.actors.jobs import limits as jobs
from thespis.actors.jobs.identity import content_digest, item_key
from thespis.actors.kernel.launch import Launch
from thespis.actors.preprocessor.actor import Preprocessor
from thespis.actors.preprocessor.effort import Effort
from thespis.gpu_runtime import processing
from thespis.protocol.edges.client_to_preprocessor import Prepare, Tokenize
from thespis.protocol.edges.control import Excuse, Gone, Kill, Peer
from thespis.protocol.edges.decode_worker_to_preprocessor import (
    ChatRendered,
    Decoded,
    DecodeFailed,
    Part,
)
from thespis.protocol.edges.encoder_cache_to_preprocessor import FeaturesRead
from thespis.protocol.edges.fetcher_to_preprocessor import Fetched
from thespis.protocol.edges.preprocessor_to_client import PreparedCopy, Previewed, Tokenized
from thespis.protocol.edges.preprocessor_to_decode_worker import Decode, FreeFeatures, RenderChat
from thespis.protocol.edges.preprocessor_to_encoder_cache import Features
from thespis.protocol.edges.preprocessor_to_scheduler import Submit
from thespis.protocol.edges.shared import MediaRead, RequestFailed
from thespis.protocol.errors import Failure
from thespis.protocol.memory.blobs import Arena, BlobRef
from thespis.protocol.requests.prepared import Span, Timing
from thespis.protocol.requests.request import Encoded, MediaItem, Request, TextPrompt
from thespis.protocol.requests.sampling import SamplingParams

from ...helpers.checkpoints import Checkpoints
from ...helpers.media import picture, png
from ..shells import Sent, acting
from .parts import chat, config_of, decoded, request

W = "decode-worker-0"


class Stage:
    """The shell with a worker whose answers the test writes, and a client's arena."""

    def __init__(self, actor: Preprocessor, sent: Sent, arena: Arena) -> None:
        self.actor, self.sent, self.arena = actor, sent, arena
        self.to_director: list[Any] = []
        actor.link.send = self.to_director.append  # type: ignore[method-assign, assignment]
        self.join()

    def join(self, role: str = W, epoch: int = 1) -> None:
        self.actor.on_peer(role, Peer(epoch, 1, "ipc://x", "ipc://y"))

    def picture(self, seed: int, uuid: str | None = None, where: str = "here") -> MediaItem:
        return MediaItem("image", Encoded(self.arena.put(png(picture(seed)))), where, uuid)

    def prepare(self, id: str, *items: MediaItem, **fields: Any) -> Request:
        made = request(chat("look ", *range(len(items))), items, id=id, **fields)
        self.actor.on_message("client-a", Prepare(made))
        return made

    @property
    def jobs(self) -> list[Decode]:
        return self.sent.of(Decode)

    def decoded(self, job: Decode, sender: str = W, rows: int = 4) -> Decoded:
        """As a worker would answer: digest and key are of the bytes that it read."""
        assert isinstance(job.item.source, Encoded)
        with self.actor._reader.view(job.item.source.blob) as view:
            digest = content_digest("blake3", job.item.source, view)
        key = item_key(digest, job.item.modality, job.processor_kwargs, job.io_kwargs, job.key_salt)
        blob = BlobRef(f"/dev/shm/{sender}", 64 * job.job, "float32", (16,))
        place = self.actor.config.model.placeholders[job.item.modality]
        part = Part(key, job.item.modality, rows, {"pixel_values": blob}, place.embed_token_id)
        row = processing.Part("image", {}, rows, place.embed_token_id)
        made = processing.ProcessedItem(
            place.token, (rows,), (row,), np.zeros((3, rows), np.int32), rows
        )
        return msgspec.structs.replace(
            decoded(made, key, job.job),
            digest=digest,
            parts=(part,),
            timings=(Timing("decode", 1.0, 2.0, "image"),),
        )

    def answer(self, job: Decode, sender: str = W) -> Decoded:
        made = self.decoded(job, sender)
        self.actor.on_message(sender, made)
        return made

    def failures(self) -> dict[str, Failure]:
        return {message.id: message.failure for message in self.sent.of(RequestFailed)}

    @property
    def idle(self) -> bool:
        """Nothing of any request is left but features for reuse."""
        actor = self.actor
        pinned = [entry for entry in actor._decoding.store._entries.values() if entry.pins]
        return not (actor._open or actor._decoding.pool.tasks() or pinned)


@asynccontextmanager
async def stage_of(folder: Path, run_dir: Path, **config: Any) -> AsyncIterator[Stage]:
    actor = Preprocessor(Launch("preprocessor", 1, str(run_dir), "x"))
    arena = Arena(run_dir, "client-a.1", 1 << 30)
    try:
        async with acting(actor, msgspec.structs.replace(config_of(folder), **config)) as sent:
            yield Stage(actor, sent, arena)
    finally:
        arena.close()


@pytest.fixture
async def stage(checkpoints: Checkpoints, tmp_path: Path) -> AsyncIterator[Stage]:
    ready: asyncio.Future[Stage] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def hold() -> (
        None
    ):  # a task group must end in the task where it began, and a fixture's halves are two
        async with stage_of(checkpoints("qwen_omni"), tmp_path) as made:
            ready.set_result(made)
            await over.wait()

    task = asyncio.create_task(hold())
    await asyncio.wait((ready, task), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task  # raises what it ended of
    yield ready.result()
    over.set()
    await task


async def test_text_goes_on_at_once_while_media_is_decoded(stage: Stage) -> None:
    stage.prepare("media", stage.picture(1))
    stage.prepare("text")
    assert [submit.prepared.id for submit in stage.sent.of(Submit)] == ["text"]
    assert len(stage.jobs) == 1


async def test_a_request_with_a_picture(stage: Stage) -> None:
    asked = stage.prepare("r", stage.picture(1), sampling=SamplingParams(max_tokens=None, seed=7))
    made = stage.answer(stage.jobs[0])
    order = [type(message) for _, message in stage.sent if not isinstance(message, Decode)]
    assert order == [
        Features,
        Submit,
        PreparedCopy,
    ]  # features first: the scheduler's Need must find them
    prepared = stage.sent.of(Submit)[0].prepared
    assert stage.sent.of(PreparedCopy)[0].prepared == prepared
    (item,) = prepared.items
    token = stage.actor.config.model.placeholders["image"].embed_token_id
    assert (item.key, item.rows, item.modality) == (made.key, 4, "image")
    assert [i for i, t in enumerate(prepared.token_ids) if t == token] == list(
        range(item.spans[0].start, item.spans[0].end)
    )
    assert item.spans[0] == Span(item.spans[0].start, 4)
    assert prepared.positions is not None
    assert len(prepared.positions) == 3 * 4 * len(prepared.token_ids)
    assert prepared.sampling.seed == 7
    assert prepared.sampling.max_tokens == 2048 - len(prepared.token_ids)
    assert prepared.media_tokens == {"image": 4}
    assert [timing.stage for timing in prepared.timings] == ["preprocess", "decode"]
    assert (prepared.client, prepared.arrival) == (asked.client, asked.arrival)
    assert stage.idle


async def test_a_preview_is_answered_from_headers_and_ends_here(stage: Stage) -> None:
    stage.prepare("r", stage.picture(1), preview=True)
    (job,) = stage.jobs
    assert job.look
    stage.answer(job)
    assert [type(message) for _, message in stage.sent if not isinstance(message, Decode)] == (
        [Previewed]
    )
    (told,) = stage.sent.of(Previewed)
    (item,) = told.items
    assert (item.modality, item.where, item.rows, item.tokens) == ("image", "here", 4, 4)
    assert told.media_tokens == {"image": 4}
    stage.prepare("again", stage.picture(1), preview=True)
    assert len(stage.jobs) == 1
    assert stage.idle
    # The real one has to be decoded, is the same prompt, and is known from then on.
    stage.prepare("real", stage.picture(1))
    assert not stage.jobs[1].look
    stage.answer(stage.jobs[1])
    assert len(stage.sent.of(Submit)[0].prepared.token_ids) == told.prompt_tokens
    stage.prepare("once more", stage.picture(1), preview=True)
    assert len(stage.jobs) == 2
    assert stage.sent.of(Previewed)[-1].prompt_tokens == told.prompt_tokens
    counters = stage.actor.counters()
    assert (counters["previewed"], counters["looked"], counters["decoded"]) == (3, 1, 1)


async def test_a_preview_of_what_does_not_fit_is_told(stage: Stage) -> None:
    long = request(TextPrompt("word " * 3000), (), id="long", preview=True)
    stage.actor.on_message("client-a", Prepare(long))
    (told,) = stage.sent.of(Previewed)
    assert told.prompt_tokens > 2048
    assert not stage.failures()


async def test_the_same_bytes_are_decoded_once(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1))
    stage.prepare("b", stage.picture(1), stage.picture(1))
    assert len(stage.jobs) == 1
    stage.answer(stage.jobs[0])
    stage.prepare("c", stage.picture(1))
    assert len(stage.jobs) == 1
    assert [submit.prepared.id for submit in stage.sent.of(Submit)] == ["a", "b", "c"]
    assert len(stage.sent.of(Features)) == 3  # each request's need is a lease of its own
    assert (stage.actor.counters()["decoded"], stage.actor.counters()["decode_hits"]) == (1, 3)


async def test_other_options_or_another_tenant_are_another_item(stage: Stage) -> None:
    stage.join("decode-worker-1")
    stage.join("decode-worker-2")
    stage.prepare("a", stage.picture(1))
    stage.prepare("b", stage.picture(1), mm_processor_kwargs={"max_pixels": 5000})
    stage.prepare("c", stage.picture(1), tenant="t")
    assert len({(job.key_salt, str(job.processor_kwargs)) for job in stage.jobs}) == 3


async def test_an_item_is_another_in_the_company_that_changes_it(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    folder = checkpoints("qwen_omni")
    model = msgspec.structs.replace(config_of(folder).model, siblings={"audio": "image"})
    async with stage_of(folder, tmp_path, model=model) as stage:
        sound = MediaItem("audio", Encoded(stage.arena.put(b"a sound")), "here")
        made: list[Decoded] = []
        for number, items in enumerate(
            [(sound,), (sound, stage.picture(1)), (sound, sound), (stage.picture(1), sound)]
        ):
            stage.prepare(f"r{number}", *items)
            while len(made) < len(stage.jobs):
                made.append(stage.answer(stage.jobs[len(made)]))
        alone, beside, seen = made
        assert alone.digest == beside.digest != seen.digest
        keys = [{item.key for item in submit.prepared.items} for submit in stage.sent.of(Submit)]
        assert keys == [{alone.key}, {beside.key, seen.key}, {alone.key}, {beside.key, seen.key}]


async def test_features_go_when_nobody_reads_them(checkpoints: Checkpoints, tmp_path: Path) -> None:
    async with stage_of(checkpoints("qwen_omni"), tmp_path, cache_bytes=0) as stage:
        stage.prepare("a", stage.picture(1))
        made = stage.answer(stage.jobs[0])
        assert stage.sent.of(FreeFeatures) == []
        stage.actor.on_message("encoder-cache", FeaturesRead((made.key,)))
        assert stage.sent.of(FreeFeatures) == [FreeFeatures((made.job,))]
        assert stage.actor.counters()["cache_bytes"] == 0


async def test_a_dead_encoder_cache_reads_nothing(checkpoints: Checkpoints, tmp_path: Path) -> None:
    async with stage_of(checkpoints("qwen_omni"), tmp_path, cache_bytes=0) as stage:
        stage.prepare("a", stage.picture(1))
        made = stage.answer(stage.jobs[0])
        stage.actor.on_gone(Gone("encoder-cache", 1))
        assert stage.sent.of(FreeFeatures) == [FreeFeatures((made.job,))]


async def test_a_failed_item_ends_its_requests_each_by_its_own_name(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1, where="messages[0].content[1]"))
    stage.prepare("b", stage.picture(1, where="multi_modal_data['image'][0]"), stage.picture(2))
    failure = Failure("unprocessable_media", "No picture.", "messages[0].content[1]")
    stage.actor.on_message(W, DecodeFailed(stage.jobs[0].job, failure))
    parts = {id: failed.part for id, failed in stage.failures().items()}
    assert parts == {"a": "messages[0].content[1]", "b": "multi_modal_data['image'][0]"}
    assert stage.idle


async def test_fetched_bytes_are_given_back(stage: Stage) -> None:
    timing = Timing("fetch", 0.0, 1.0)
    for id, item in (("a", stage.picture(1)), ("b", MediaItem("image", None, "here", "unknown"))):
        stage.actor.on_message("fetcher", Fetched(request(chat("x", 0), (item,), id=id), (timing,)))
    stage.answer(stage.jobs[0])
    assert sorted(read.id for read in stage.sent.to("fetcher", MediaRead)) == ["a", "b"]
    assert stage.sent.of(Submit)[0].prepared.timings[0] == timing


async def test_S18_an_id_stands_for_content_that_is_held(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1, uuid="sku"))
    made = stage.answer(stage.jobs[0])
    stage.prepare("b", MediaItem("image", None, "here", "sku"))
    assert stage.sent.of(Submit)[1].prepared.items[0].key == made.key
    assert len(stage.jobs) == 1


async def test_S18_an_id_stands_for_content_that_is_on_its_way(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1, uuid="sku"))
    stage.prepare("b", MediaItem("image", None, "here", "sku"))
    stage.answer(stage.jobs[0])
    assert [submit.prepared.id for submit in stage.sent.of(Submit)] == ["a", "b"]
    assert len(stage.jobs) == 1


@pytest.mark.parametrize("waits_in_the_queue", [True, False])
async def test_S18_who_brought_the_bytes_has_gone(stage: Stage, waits_in_the_queue: bool) -> None:
    """The id alone is left: who named it is told to send the data, and nothing waits for ever."""
    if waits_in_the_queue:
        stage.prepare("busy", stage.picture(2))
    stage.prepare("a", stage.picture(1, uuid="sku"))
    stage.prepare("b", MediaItem("image", None, "here", "sku"))
    stage.actor.on_end(("a",))
    if not waits_in_the_queue:
        stage.actor.on_message(
            W, DecodeFailed(stage.jobs[0].job, Failure("restarted", "The bytes have gone."))
        )
    assert stage.failures()["b"].code == "cache_miss"
    assert stage.failures()["b"].part == "here"
    assert stage.actor._decoding.pool.waiting == 0


async def test_S21_what_cannot_be_decoded_takes_no_id(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1, uuid="sku"))
    stage.actor.on_message(
        W, DecodeFailed(stage.jobs[0].job, Failure("unprocessable_media", "Garbage."))
    )
    stage.prepare("b", stage.picture(2, uuid="sku"))
    stage.answer(stage.jobs[1])
    assert stage.sent.of(Submit)[0].prepared.id == "b"


async def test_S19_an_id_that_is_not_held(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1), MediaItem("image", None, "here", "sku"))
    failure = stage.failures()["a"]
    assert failure.text == "Cache miss for image at index 1 but data is not provided."
    assert (failure.kind, failure.code) == ("invalid_request", "cache_miss")
    assert stage.actor._decoding.pool.waiting == 0


async def test_an_id_that_was_held_when_its_worker_died(stage: Stage) -> None:
    """The request was accepted, so that it is the engine's loss and no mistake of the caller's."""
    stage.prepare("a", stage.picture(1, uuid="sku"))
    stage.answer(stage.jobs[0])
    stage.prepare("b", MediaItem("image", None, "here", "sku"), stage.picture(2))
    stage.actor.on_gone(Gone(W, 1))
    failure = stage.failures()["b"]
    assert (failure.kind, failure.part) == ("restarted", "here")


async def test_an_id_in_a_later_attempt_may_have_been_held_before_the_death(stage: Stage) -> None:
    stage.prepare("a", MediaItem("image", None, "here", "sku"), attempt=1)
    failure = stage.failures()["a"]
    assert (failure.kind, failure.part) == ("restarted", "here")


async def test_S21_an_id_with_other_content(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1, uuid="sku"))
    stage.prepare("b", stage.picture(2, uuid="sku"))
    stage.prepare("c", stage.picture(2, uuid="sku"), tenant="another")
    assert set(stage.failures()) == {"b"}
    assert stage.failures()["b"].kind == "conflict"
    assert "sku" in stage.failures()["b"].text
    stage.prepare("d", MediaItem("image", None, "here", "sku"), tenant="a third")
    assert stage.failures()["d"].code == "cache_miss"


async def test_a_workers_death_is_retried_once(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1))
    stage.prepare("b", stage.picture(2))
    stage.actor.on_gone(Gone(W, 1))
    stage.join(epoch=2)
    assert [job.item for job in stage.jobs] == [stage.jobs[0].item] * 2
    stage.actor.on_gone(Gone(W, 2))
    assert stage.failures()["a"].kind == "unprocessable_media"
    assert stage.failures()["a"].part == "here"
    stage.join(epoch=3)
    stage.answer(stage.jobs[2])
    assert [submit.prepared.id for submit in stage.sent.of(Submit)] == ["b"]
    assert stage.actor.counters()["worker_deaths"] == 2


async def test_what_ended_two_workers_is_refused_at_once_when_it_comes_again(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1))
    for epoch in (1, 2):
        stage.actor.on_gone(Gone(W, epoch))
        stage.join(epoch=epoch + 1)
    stage.prepare("again", stage.picture(1))
    assert stage.failures()["again"].code == "poison"
    assert len(stage.jobs) == 2
    stage.prepare("other", stage.picture(2))
    assert len(stage.jobs) == 3


async def test_two_kills_from_outside_refuse_nothing(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1))
    for epoch in (1, 2):
        stage.actor.on_gone(Gone(W, epoch, outside=True))
        stage.join(epoch=epoch + 1)
    stage.answer(stage.jobs[2])
    assert [submit.prepared.id for submit in stage.sent.of(Submit)] == ["a"]


async def test_the_deaths_of_an_item_that_is_refused_are_excused(stage: Stage) -> None:
    stage.join("decode-worker-1")
    stage.prepare("a", stage.picture(1))
    stage.actor.on_gone(Gone(W, 1))
    assert stage.to_director == [], "nothing is proved yet"
    stage.actor.on_gone(Gone("decode-worker-1", 1))
    assert stage.failures()["a"].code == "poison"
    assert stage.to_director == [Excuse(W, (1,)), Excuse("decode-worker-1", (1,))]


async def test_a_death_whose_item_is_decoded_after_all_has_no_excuse(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1))
    stage.actor.on_gone(Gone(W, 1))
    stage.join(epoch=2)
    stage.answer(stage.jobs[1])
    assert stage.to_director == []


async def test_a_death_whose_item_nobody_waits_for_any_more_is_excused(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1))
    stage.actor.on_gone(Gone(W, 1))
    stage.actor.on_end(("a",))
    assert stage.to_director == [Excuse(W, (1,))]


async def test_features_that_died_with_their_worker_are_made_again(stage: Stage) -> None:
    stage.join("decode-worker-1")
    stage.prepare("a", stage.picture(1), stage.picture(2))
    stage.answer(stage.jobs[0])
    stage.actor.on_gone(Gone(W, 1))
    stage.answer(stage.jobs[1], "decode-worker-1")
    assert stage.sent.of(Submit) == []
    stage.answer(stage.jobs[2], "decode-worker-1")
    blobs = {feature.tensors["pixel_values"].segment for feature in stage.sent.of(Features)}
    assert blobs == {"/dev/shm/decode-worker-1"}
    assert len(stage.sent.of(Submit)) == 1


async def test_an_item_that_takes_too_long_costs_its_worker(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    media = msgspec.structs.replace(config_of(checkpoints("qwen_omni")).media, decode_seconds=0.05)
    async with stage_of(checkpoints("qwen_omni"), tmp_path, media=media) as stage:
        stage.prepare("a", stage.picture(1))
        await stage.sent.until(RequestFailed)
        assert stage.failures()["a"].text.startswith(
            "The picture takes longer than 0.05 s to decode"
        )
        assert stage.to_director == [Kill(W, 1)]
        stage.prepare("b", stage.picture(1))
        assert len(stage.jobs) == 1  # the doomed worker gets no more
        stage.actor.on_gone(Gone(W, 1))
        stage.join(epoch=2)
        stage.answer(stage.jobs[1])
        assert stage.sent.of(Submit)[0].prepared.id == "b"
        assert stage.idle


async def test_an_end_while_its_item_waits(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1))
    stage.prepare("b", stage.picture(2))
    stage.actor.on_end(("b", "never seen"))
    assert stage.sent.to("client-a.1", MediaRead) == [MediaRead("b", 0)]
    assert stage.actor._decoding.pool.waiting == 0
    stage.answer(stage.jobs[0])
    assert len(stage.jobs) == 1
    assert stage.idle


async def test_an_end_while_its_item_is_decoded_for_another_too(stage: Stage) -> None:
    """The first one's bytes may be gone by then: the task goes again from the other's."""
    stage.prepare("a", stage.picture(1))
    second = stage.prepare("b", stage.picture(1))
    stage.actor.on_end(("a",))
    stage.actor.on_message(
        W, DecodeFailed(stage.jobs[0].job, Failure("unprocessable_media", "Garbage."))
    )
    assert stage.jobs[1].item == second.media[0]
    stage.answer(stage.jobs[1])
    assert stage.sent.of(Submit)[0].prepared.id == "b"
    assert stage.failures() == {}


async def test_bytes_that_change_while_they_are_read_are_filed_under_nothing(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1))
    for _ in range(2):
        job = stage.jobs[-1]
        stage.actor.on_message(W, msgspec.structs.replace(stage.decoded(job), key="another"))
    assert stage.failures()["a"].kind == "internal"
    assert stage.sent.of(FreeFeatures) == [FreeFeatures((job.job,)) for job in stage.jobs]
    assert stage.actor.counters()["cache_items"] == 0


async def test_an_end_that_comes_before_its_request(stage: Stage) -> None:
    stage.actor.on_end(("late",))
    stage.actor.on_message(
        "fetcher", Fetched(request(chat("x", 0), (stage.picture(1),), id="late"), ())
    )
    assert stage.jobs == []
    assert stage.sent.to("fetcher", MediaRead) == [MediaRead("late", 0)]


class Machine:
    """What the kernel tells of the worker, which is as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.effort = Effort(0.0, 0.0)
        monkeypatch.setattr("thespis.actors.preprocessor.actor.effort_of", lambda *_: self.effort)
        for name, seconds in (("LOOK_AGAIN_SECONDS", 0.005), ("CUT_SECONDS", 0.02)):
            monkeypatch.setattr(f"thespis.actors.preprocessor.decoding.{name}", seconds)
        monkeypatch.setattr(
            "thespis.actors.preprocessor.decoding.limits_of",
            lambda *given: jobs.limits_of(*given)._replace(seconds=0.03),
        )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


async def test_a_decode_that_nobody_waits_for_is_cut(
    stage: Stage, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    stage.prepare("a", stage.picture(1))
    stage.actor.on_end(("a",))
    machine.effort = Effort(0.02, 0.0)
    await asyncio.sleep(0.1)
    assert stage.to_director == [Kill(W, 1)]
    assert "nobody waits for it" in caplog.text
    stage.actor.on_gone(Gone(W, 1))
    stage.join(epoch=2)
    assert len(stage.jobs) == 1
    assert stage.idle


async def test_a_worker_that_has_no_processor_is_not_killed_since_a_caller_left(
    stage: Stage, machine: Machine
) -> None:
    stage.prepare("a", stage.picture(1))
    stage.actor.on_end(("a",))
    machine.effort = Effort(0.04, 0.03)
    await asyncio.sleep(0.1)
    assert stage.to_director == []
    stage.answer(stage.jobs[0])
    await asyncio.sleep(0.05)
    assert stage.to_director == []
    assert stage.idle


@pytest.mark.parametrize(
    ("passed", "queued", "killed"), [(0.04, 0.0, True), (0.04, 0.02, False), (0.07, 0.06, True)]
)
async def test_an_items_time_is_what_its_worker_could_have_used(
    stage: Stage, machine: Machine, passed: float, queued: float, killed: bool
) -> None:
    stage.prepare("a", stage.picture(1))
    machine.effort = Effort(passed, queued)
    await asyncio.sleep(0.15)
    assert stage.to_director == ([Kill(W, 1)] if killed else [])
    if not killed:
        stage.answer(stage.jobs[0])
    assert [failure.code for failure in stage.failures().values()] == (
        ["decode_timeout"] if killed else []
    )


async def test_an_answer_that_was_there_before_its_worker_was_too_late_is_read(
    stage: Stage, machine: Machine
) -> None:
    """Timers come first after a pause of this process, then what lies in its sockets."""
    stage.prepare("a", stage.picture(1))
    machine.effort = Effort(1.0, 0.0)
    asyncio.get_running_loop().call_later(0.031, stage.answer, stage.jobs[0])
    time.sleep(0.05)
    await asyncio.sleep(0.1)
    assert stage.to_director == []
    assert stage.sent.of(Submit)[0].prepared.id == "a"


async def test_a_higher_attempt_replaces_a_lower_one(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1))
    stage.prepare("a", stage.picture(1), attempt=1)
    stage.prepare("a", stage.picture(1), attempt=0)
    stage.answer(stage.jobs[0])
    assert [copy.prepared.attempt for copy in stage.sent.of(PreparedCopy)] == [1]
    assert stage.sent.of(Submit) == []  # its client resumes it, and says how far it had come


async def test_a_dead_clients_requests_end(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1))
    stage.actor.on_gone(Gone("client-a", 1))
    stage.answer(stage.jobs[0])
    assert stage.sent.of(Submit) == []
    assert stage.idle


async def test_what_was_fetched_for_a_dead_client_goes_back_unread(stage: Stage) -> None:
    """The fetcher sent it before it heard of the death."""
    stage.actor.peers.gone(Gone("client-a", 1))
    stage.actor.on_message(
        "fetcher", Fetched(request(chat("x", 0), (stage.picture(1),), id="late"), ())
    )
    assert stage.jobs == []
    assert stage.sent.to("fetcher", MediaRead) == [MediaRead("late", 0)]
    assert stage.idle


async def test_full_shared_memory_frees_what_is_kept_and_tries_again(stage: Stage) -> None:
    stage.prepare("a", stage.picture(1))
    made = stage.answer(stage.jobs[0])
    stage.actor.on_message("encoder-cache", FeaturesRead((made.key,)))
    stage.prepare("b", stage.picture(2))
    full = Failure("unavailable", "Full.", code="no_shared_memory")
    stage.actor.on_message(W, DecodeFailed(stage.jobs[1].job, full))
    assert stage.sent.of(FreeFeatures) == [FreeFeatures((made.job,))]
    stage.actor.on_message(W, DecodeFailed(stage.jobs[2].job, full))
    assert stage.failures()["b"].kind == "unavailable"


@pytest.mark.parametrize("waits_in_the_queue", [True, False])
async def test_a_dead_fetcher_takes_along_what_it_fetched_and_nobody_else(
    stage: Stage, tmp_path: Path, waits_in_the_queue: bool
) -> None:
    """Its requests are fetched again; who brought the same bytes himself has no reason to come
    again."""
    dead, successor = (Arena(tmp_path, f"fetcher.{epoch}", 1 << 25) for epoch in (1, 2))
    if waits_in_the_queue:
        stage.prepare("busy", stage.picture(2))
    for id, arena, seed in (("url", dead, 1), ("newer", successor, 3)):
        item = MediaItem("image", Encoded(arena.put(png(picture(seed)))), "here")
        stage.actor.on_message("fetcher", Fetched(request(chat("x", 0), (item,), id=id), ()))
    own = stage.prepare("own", stage.picture(1))
    dead.close()
    stage.actor.on_gone(Gone("fetcher", 1))
    assert stage.sent.to("client-a.1", MediaRead) == [MediaRead("url", 0)]
    if not waits_in_the_queue:
        stage.actor.on_message(
            W, DecodeFailed(stage.jobs[0].job, Failure("restarted", "The bytes have gone."))
        )
    answered = 0 if waits_in_the_queue else 1
    while len(stage.jobs) > answered:
        stage.answer(stage.jobs[answered])
        answered += 1
    assert {submit.prepared.id for submit in stage.sent.of(Submit)} >= {"own", "newer"}
    assert own.media[0] in [job.item for job in stage.jobs]
    assert stage.failures() == {}
    assert stage.idle
    successor.close()


async def test_an_item_whose_bytes_go_with_their_requests_is_decoded_for_the_last_who_waits(
    stage: Stage,
) -> None:
    for id in "abc":
        stage.prepare(id, stage.picture(1))
    for job, id in enumerate("ab"):
        stage.actor.on_end((id,))
        stage.actor.on_message(
            W, DecodeFailed(stage.jobs[job].job, Failure("restarted", "The bytes have gone."))
        )
    stage.answer(stage.jobs[2])
    assert [submit.prepared.id for submit in stage.sent.of(Submit)] == ["c"]
    assert stage.failures() == {}


@pytest.mark.parametrize("size", [1 << 10, 2 << 20])
async def test_bytes_that_are_gone_before_the_news_of_it_end_nothing(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    arena = Arena(tmp_path, "fetcher.1", 1 << 25)
    item = MediaItem("image", Encoded(arena.put(bytes(size))), "here")
    arena.close()
    news = Gone("fetcher", 1)
    monkeypatch.setattr(stage.actor._open, "_catch_up", lambda: stage.actor.on_gone(news))
    stage.actor.on_message("fetcher", Fetched(request(chat("x", 0), (item,), id="url"), ()))
    await stage.sent.until(MediaRead)
    assert stage.failures() == {}
    assert stage.idle


async def test_large_items_are_hashed_beside_the_loop(stage: Stage) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 2 << 20, np.uint8).tobytes()
    stage.prepare("a", MediaItem("image", Encoded(stage.arena.put(noise)), "here"))
    assert stage.jobs == []
    await stage.sent.until(Decode)
    stage.answer(stage.jobs[0])
    assert len(stage.sent.of(Submit)) == 1


@pytest.mark.parametrize(
    ("tokens", "code", "end"),
    [
        (0, "empty_prompt", "is empty; give it a text, token ids or media."),
        (3000, "context_length_exceeded", "tokens, the model's context is 2048 tokens."),
    ],
)
async def test_prompts_that_cannot_run(stage: Stage, tokens: int, code: str, end: str) -> None:
    stage.actor.on_message("client-a", Prepare(request(TextPrompt("a" * tokens), id="r")))
    assert (stage.failures()["r"].kind, stage.failures()["r"].code) == ("invalid_request", code)
    assert stage.failures()["r"].text.endswith(end)


async def test_max_tokens_end_at_the_context(stage: Stage) -> None:
    sampling = SamplingParams(max_tokens=5000, min_tokens=4000, seed=1)
    stage.actor.on_message("client-a", Prepare(request(TextPrompt("abc"), sampling=sampling)))
    prepared = stage.sent.of(Submit)[0].prepared
    assert (
        prepared.sampling.max_tokens
        == prepared.sampling.min_tokens
        == 2048 - len(prepared.token_ids)
    )


async def test_tokenizing_generates_nothing(stage: Stage) -> None:
    stage.actor.on_message("client-a", Tokenize(request(TextPrompt("abc"), id="t")))
    (answer,) = stage.sent.of(Tokenized)
    assert (answer.id, answer.text) == ("t", "abc")
    assert len(stage.sent) == 1


# a caller's own template


async def test_a_callers_template_runs_in_a_worker_and_others_do_not_wait(stage: Stage) -> None:
    prompt = chat("look ", 0, template="{{ 1 }}")
    stage.actor.on_message("client-a", Prepare(request(prompt, (stage.picture(1),), id="own")))
    (job,) = stage.sent.of(RenderChat)
    assert (job.prompt, job.modalities) == (prompt, ("image",))
    stage.prepare("other")
    assert [submit.prepared.id for submit in stage.sent.of(Submit)] == ["other"]
    assert not stage.jobs, "an item of it is decoded before its text is known"
    image = stage.actor.config.model.placeholders["image"].token
    stage.actor.on_message(W, ChatRendered(job.job, None, f"a{image}b", {"image": [0]}, False))
    stage.answer(stage.jobs[0])
    assert [submit.prepared.id for submit in stage.sent.of(Submit)] == ["other", "own"]
    assert stage.idle


async def test_S15_no_encoder_sees_an_item_of_a_prompt_that_is_refused(stage: Stage) -> None:
    """One that rests would begin with its features at once."""
    prompt = chat("look ", 0, template="{{ 1 }}")
    stage.actor.on_message("client-a", Prepare(request(prompt, (stage.picture(1),), id="r")))
    (job,) = stage.sent.of(RenderChat)
    image = stage.actor.config.model.placeholders["image"].token
    stage.actor.on_message(W, ChatRendered(job.job, None, image * 2, {"image": [0]}, False))
    stage.answer(stage.jobs[0])
    assert "placeholders" in stage.failures()["r"].text
    assert not stage.sent.of(Features)
    assert stage.idle


async def test_a_template_that_is_refused_ends_its_request_alone(stage: Stage) -> None:
    for ask, id in ((Prepare, "a"), (Tokenize, "b")):
        stage.actor.on_message("client-a", ask(request(chat("x", template="{{"), id=id)))
        job = stage.sent.of(RenderChat)[-1]
        stage.actor.on_message(W, DecodeFailed(job.job, Failure("invalid_request", "No.")))
    assert {id: failure.text for id, failure in stage.failures().items()} == {
        "a": "No.",
        "b": "No.",
    }
    assert stage.idle


async def test_tokens_by_a_callers_template(stage: Stage) -> None:
    stage.actor.on_message("client-a", Tokenize(request(chat("x", template="{{ 1 }}"), id="t")))
    (job,) = stage.sent.of(RenderChat)
    stage.actor.on_message(W, ChatRendered(job.job, [5, 6], "text", {}, False))
    assert stage.sent.of(Tokenized) == [Tokenized("t", (5, 6), "text")]
    assert stage.idle


async def test_a_template_that_does_not_end_costs_a_worker_and_is_said_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "RENDER_SECONDS", 0.0)
    stage.actor.on_message("client-a", Prepare(request(chat("x", template="{{ 1 }}"), id="slow")))
    await stage.sent.until(RequestFailed)
    assert "too long" in stage.failures()["slow"].text
    assert stage.to_director == [Kill(W, 1)]
    stage.actor.on_gone(Gone(W, 1))
    assert stage.idle
    assert stage.actor.counters()["decodes_running"] == 0


async def test_a_template_that_ends_its_workers_is_not_tried_on_a_third(stage: Stage) -> None:
    stage.actor.on_message("client-a", Prepare(request(chat("x", template="{{ 1 }}"), id="deadly")))
    stage.actor.on_gone(Gone(W, 1))
    stage.join(epoch=2)
    assert len(stage.sent.of(RenderChat)) == 2
    stage.actor.on_gone(Gone(W, 2))
    assert "memory" in stage.failures()["deadly"].text
    assert stage.to_director == [Excuse(W, (1,)), Excuse(W, (2,))]
    assert stage.idle


async def test_a_rendering_that_nobody_waits_for_is_dropped(stage: Stage) -> None:
    stage.actor.on_message("client-a", Prepare(request(chat("x", template="{{ 1 }}"), id="first")))
    stage.actor.on_message("client-a", Prepare(request(chat("x", template="{{ 2 }}"), id="second")))
    stage.actor.on_end(("second",))
    (job,) = stage.sent.of(RenderChat)
    stage.actor.on_message(W, ChatRendered(job.job, [1], "text", {}, False))
    assert [submit.prepared.id for submit in stage.sent.of(Submit)] == ["first"]
    assert len(stage.sent.of(RenderChat)) == 1
    assert stage.idle
