"""What the encoder-cache knows needs no decode worker; what it does not know, or does not say, goes
on as ever; nothing stays when a request is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from thespis.actors.preprocessor import recalling, remembered
from thespis.protocol.edges.control import Gone
from thespis.protocol.edges.encoder_cache_to_preprocessor import (
    FeaturesRead,
    Recalled,
    RecalledId,
)
from thespis.protocol.edges.preprocessor_to_client import PreparedCopy
from thespis.protocol.edges.preprocessor_to_encoder_cache import (
    Features,
    Recall,
    RecallId,
    RememberId,
)
from thespis.protocol.edges.preprocessor_to_scheduler import Submit
from thespis.protocol.requests.request import MediaItem

from ...helpers.checkpoints import Checkpoints
from .test_shell import Stage, W, stage_of


@asynccontextmanager
async def asking(checkpoints: Checkpoints, run_dir: Path, **config: Any) -> AsyncIterator[Stage]:
    async with stage_of(checkpoints("qwen_omni"), run_dir, recalls=True, **config) as made:
        yield made


def told(stage: Stage, asked: Recall, known: Any = None) -> None:
    stage.actor.on_message("encoder-cache", Recalled(asked.key, known))


async def test_what_is_not_known_is_decoded_and_sent_to_be_kept(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    async with asking(checkpoints, tmp_path) as stage:
        stage.prepare("r", stage.picture(1))
        (asked,) = stage.sent.of(Recall)
        assert stage.jobs == []
        told(stage, asked)
        made = stage.answer(stage.jobs[0])
        (features,) = stage.sent.of(Features)
        assert features.kept is not None
        assert (features.key, features.kept.name) == (asked.key, asked.name)
        assert features.kept.item == made
        assert len(stage.sent.of(Submit)) == 1
        # It is here now: nobody is asked again.
        stage.prepare("again", stage.picture(1))
        assert len(stage.sent.of(Recall)) == 1
        assert stage.idle
        assert len(stage.actor._decoding.recalling) == 0


async def test_what_is_known_is_neither_decoded_nor_encoded(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    async with asking(checkpoints, tmp_path) as stage:
        stage.prepare("first", stage.picture(1))
        told(stage, stage.sent.of(Recall)[0])
        known = stage.answer(stage.jobs[0])
        bare = [msgspec.structs.replace(part, tensors={}) for part in known.parts]
        known = msgspec.structs.replace(known, parts=tuple(bare), timings=())
        first = stage.sent.of(Submit)[0].prepared
    async with asking(checkpoints, tmp_path) as stage:
        stage.prepare("one", stage.picture(1), stage.picture(1, where="there"))
        stage.prepare("two", stage.picture(1))
        (asked,) = stage.sent.of(Recall)
        told(stage, asked, known)
        assert (stage.jobs, stage.sent.of(Features)) == ([], [])
        one, two = (submit.prepared for submit in stage.sent.of(Submit))
        assert (two.token_ids, two.items, two.positions) == (
            first.token_ids, first.items, first.positions,
        )  # fmt: skip
        assert [item.key for item in one.items] == [asked.key] * 2
        assert [timing.stage for timing in two.timings] == ["preprocess", "recall"]
        assert all(source.held for source in stage.sent.of(PreparedCopy)[0].sources)
        assert stage.actor.counters()["recalled"] == 1
        # Its embedding may be gone by then: each request asks.
        stage.prepare("three", stage.picture(1))
        assert len(stage.sent.of(Recall)) == 2
        stage.actor.on_end(("three",))
        assert stage.idle
        assert len(stage.actor._decoding.recalling) == 0
        told(stage, asked, known)  # too late, and for nobody


async def test_an_id_alone_is_enough_for_what_is_known(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    async with asking(checkpoints, tmp_path, cache_bytes=0) as stage:
        stage.prepare("r", stage.picture(1, uuid="mine"))
        told(stage, stage.sent.of(Recall)[0])
        known = stage.answer(stage.jobs[0])
        stage.actor.on_message("encoder-cache", FeaturesRead((known.key,)))
        stage.prepare("id", MediaItem("image", None, "here", "mine"))
        told(stage, stage.sent.of(Recall)[1], msgspec.structs.replace(known, timings=()))
        assert [submit.prepared.id for submit in stage.sent.of(Submit)] == ["r", "id"]
        stage.prepare("gone", MediaItem("image", None, "here", "mine"))
        told(stage, stage.sent.of(Recall)[2])
        assert stage.failures()["gone"].code == "cache_miss"


@pytest.mark.parametrize("end", ["death", "silence", "nobody"])
async def test_who_does_not_answer_is_not_waited_for(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(recalling, "RECALL_SECONDS", 0.05 if end == "silence" else 60)
    async with asking(checkpoints, tmp_path) as stage:
        if end == "nobody":
            send = stage.actor._decoding._shell.send

            def nobody(role: str, message: Any) -> bool:
                return not isinstance(message, Recall) and send(role, message)

            object.__setattr__(stage.actor._decoding.recalling._shell, "send", nobody)
        stage.prepare("r", stage.picture(1), stage.picture(2, where="there"))
        if end == "death":
            stage.actor.on_gone(Gone("encoder-cache", 0))
        for number in range(2):  # each has a clock of its own
            async with asyncio.timeout(10):
                while len(stage.jobs) == number:
                    await asyncio.sleep(0.005)
            stage.answer(stage.jobs[number])
        assert len(stage.sent.of(Submit)) == 1
        assert stage.idle


async def test_what_a_request_waits_for_goes_with_it(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    async with asking(checkpoints, tmp_path) as stage:
        stage.prepare("r", stage.picture(1))
        stage.prepare("s", stage.picture(1))
        stage.actor.on_end(("r",))
        assert len(stage.actor._decoding.recalling) == 1
        told(stage, stage.sent.of(Recall)[0])
        assert [job.item.where for job in stage.jobs] == ["here"]
        stage.answer(stage.jobs[0])
        assert [submit.prepared.id for submit in stage.sent.of(Submit)] == ["s"]
        assert stage.idle


async def test_after_a_reset_the_name_is_the_same_and_the_key_another(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    async with asking(checkpoints, tmp_path) as stage:
        stage.prepare("r", stage.picture(1))
        stage.actor.on_reset("media", 1)
        stage.prepare("s", stage.picture(1))
        before, after = stage.sent.of(Recall)
        assert before.name == after.name
        assert before.key != after.key


async def test_a_later_attempt_asks_for_the_same(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Also of a successor that has heard of a reset since."""
    async with asking(checkpoints, tmp_path) as stage:
        stage.prepare("r", stage.picture(1))
        stage.actor.on_reset("media", 1)
        stage.prepare("r", stage.picture(1), attempt=1, era="")
        before, after = stage.sent.of(Recall)
        assert before == after


async def test_tenants_have_names_of_their_own(checkpoints: Checkpoints, tmp_path: Path) -> None:
    async with asking(checkpoints, tmp_path) as stage:
        stage.prepare("r", stage.picture(1), tenant="alice")
        stage.prepare("s", stage.picture(1), tenant="bob")
        assert len({asked.name for asked in stage.sent.of(Recall)}) == 2


async def test_a_preview_asks_nobody(checkpoints: Checkpoints, tmp_path: Path) -> None:
    async with asking(checkpoints, tmp_path) as stage:
        stage.prepare("r", stage.picture(1), preview=True)
        assert stage.sent.of(Recall) == []
        assert [job.look for job in stage.jobs] == [True]
        assert W in {role for role, _ in stage.sent}


async def test_an_id_alone_finds_what_it_stood_for_before_this_start(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    async with asking(checkpoints, tmp_path) as stage:
        stage.prepare("r", stage.picture(1, uuid="mine"))
        assert stage.sent.of(RecallId) == [], "its data say what it is"
        told(stage, stage.sent.of(Recall)[0])
        assert stage.sent.of(RememberId) == [], "it may turn out to be no picture"
        known = msgspec.structs.replace(stage.answer(stage.jobs[0]), timings=())
        (kept,) = stage.sent.of(RememberId)
        name = stage.sent.of(Recall)[0].name
        stage.prepare("s", stage.picture(1, uuid="mine"))
        assert len(stage.sent.of(RememberId)) == 1
    async with asking(checkpoints, tmp_path) as stage:
        alone = MediaItem("image", None, "here", "mine")
        stage.prepare("one", alone, MediaItem("image", None, "there", "mine"))
        stage.prepare("two", alone)
        stage.prepare("bobs", alone, tenant="bob")
        asked, bobs = stage.sent.of(RecallId)
        assert (asked.name == kept.name, bobs.name == kept.name) == (True, False)
        stage.actor.on_message("encoder-cache", RecalledId(bobs.name, None))
        assert stage.failures()["bobs"].code == "cache_miss"
        stage.actor.on_message("encoder-cache", RecalledId(asked.name, kept.digest))
        (recall,) = stage.sent.of(Recall)
        assert recall.name == name
        told(stage, recall, msgspec.structs.replace(known, key=recall.key))
        assert [submit.prepared.id for submit in stage.sent.of(Submit)] == ["one", "two"]
        assert stage.sent.of(RememberId) == []
        # From now on it is known here, and names nothing else.
        stage.prepare("other", stage.picture(2, uuid="mine"))
        assert stage.failures()["other"].code == "uuid_conflict"
        assert stage.idle
        assert len(stage.actor._decoding.ids) == 0


@pytest.mark.parametrize("end", ["death", "silence", "request"])
async def test_who_does_not_say_what_an_id_stands_for_is_not_waited_for(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(remembered, "RECALL_SECONDS", 0.05 if end == "silence" else 60)
    async with asking(checkpoints, tmp_path) as stage:
        stage.prepare("r", MediaItem("image", None, "here", "mine"), stage.picture(2))
        (asked,) = stage.sent.of(RecallId)
        if end == "request":
            stage.actor.on_end(("r",))
            stage.actor.on_message("encoder-cache", RecalledId(asked.name, "0" * 64))
            assert (stage.failures(), stage.jobs) == ({}, [])
        else:
            if end == "death":
                stage.actor.on_gone(Gone("encoder-cache", 0))
            async with asyncio.timeout(10):
                while not stage.failures():
                    await asyncio.sleep(0.005)
            assert stage.failures()["r"].code == "cache_miss"
        assert stage.idle
        assert len(stage.actor._decoding.ids) == 0


async def test_an_id_of_before_a_reset_is_not_remembered(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    async with asking(checkpoints, tmp_path) as stage:
        stage.prepare("r", stage.picture(1, uuid="mine"))
        told(stage, stage.sent.of(Recall)[0])
        stage.actor.on_reset("media", 1)
        stage.answer(stage.jobs[0])
        assert len(stage.sent.of(Submit)) == 1
        assert stage.sent.of(RememberId) == []
