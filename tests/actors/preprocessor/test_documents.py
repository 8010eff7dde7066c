"""Documents in the shell: pages in their place, submitted before one is drawn, drawn when they are
asked for, and nothing left when the request is over."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from thespis.actors.jobs.identity import content_digest, item_key, page_digest
from thespis.actors.jobs.options import SIBLINGS
from thespis.actors.preprocessor.documents import place_of
from thespis.gpu_runtime import processing
from thespis.protocol.edges.client_to_preprocessor import Prepare
from thespis.protocol.edges.control import Gone
from thespis.protocol.edges.decode_worker_to_preprocessor import (
    Decoded,
    DecodeFailed,
    DocumentRead,
    PageFound,
    Part,
    TextRead,
)
from thespis.protocol.edges.encoder_cache_to_preprocessor import (
    FeaturesRead,
    FeaturesWanted,
    Recalled,
)
from thespis.protocol.edges.fetcher_to_preprocessor import Fetched
from thespis.protocol.edges.preprocessor_to_client import PreparedCopy, Previewed
from thespis.protocol.edges.preprocessor_to_decode_worker import (
    Decode,
    ForgetDocument,
    FreeFeatures,
    ReadDocument,
    ReadText,
)
from thespis.protocol.edges.preprocessor_to_encoder_cache import Features, FeaturesGone, Recall
from thespis.protocol.edges.preprocessor_to_scheduler import Submit
from thespis.protocol.edges.shared import MediaRead, RequestFailed
from thespis.protocol.errors import Failure
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.document import DocumentOptions
from thespis.protocol.requests.request import Encoded, MediaItem, Page, Request, TextPrompt

from ...helpers.checkpoints import Checkpoints
from .parts import chat, config_of, decoded, request
from .test_shell import Stage, W, stage, stage_of  # noqa: F401

PDF = b"%PDF-1.7 as far as the shell knows"


class Desk:
    """A shell whose worker the test plays, and documents."""

    def __init__(self, shell: Stage) -> None:
        self.stage, self.sent, self.actor = shell, shell.sent, shell.actor

    def document(self, data: bytes = PDF, **wanted: Any) -> MediaItem:
        source = Encoded(self.stage.arena.put(data))
        return MediaItem("document", source, "doc", document=DocumentOptions(**wanted))

    def prepare(self, id: str, *items: MediaItem, **fields: Any) -> Request:
        made = request(chat("look ", *range(len(items)), " well"), items, id=id, **fields)
        self.actor.on_message("client-a", Prepare(made))
        return made

    def layout(self, rows: int = 4) -> Decoded:
        place = self.actor.config.model.placeholders["image"]
        row = processing.Part("image", {}, rows, place.embed_token_id)
        made = processing.ProcessedItem(
            place.token, (rows,), (row,), np.zeros((3, rows), np.int32), rows
        )
        return decoded(made, "")

    def read(self, pages: int = 3, text: str | None = None, data: bytes = PDF) -> None:
        """The worker's answer to the last question about a document."""
        self.answer(self.sent.of(ReadDocument)[-1], data, pages, text)

    def answer(self, job: ReadDocument, data: bytes, pages: int, text: str | None) -> None:
        assert job.item.source is not None
        found = tuple(PageFound(n, 56, 56, 0) for n in range(1, pages + 1))
        layouts = () if text is not None else (self.layout(),)
        digest = content_digest("blake3", job.item.source, data)
        pages_found = () if text is not None else found
        self.actor.on_message(W, DocumentRead(job.job, digest, pages_found, layouts, text))

    def want(self, *keys: str) -> None:
        self.actor.on_message("encoder-cache", FeaturesWanted(keys))

    def draw(self, job: Decode, data: bytes = PDF) -> None:
        assert isinstance(job.item.source, Page)
        whole = content_digest("blake3", Encoded(job.item.source.blob), data)
        digest = page_digest("blake3", job.item.source, whole)
        key = item_key(digest, "image", job.processor_kwargs, job.io_kwargs, job.key_salt)
        blob = BlobRef(f"/dev/shm/{W}", 64 * job.job, "float32", (16,))
        place = self.actor.config.model.placeholders["image"]
        part = Part(key, "image", 4, {"pixel_values": blob}, place.embed_token_id)
        made = msgspec.structs.replace(
            self.layout(), job=job.job, digest=digest, key=key, parts=(part,)
        )
        self.actor.on_message(W, made)

    @property
    def keys(self) -> list[str]:
        return [item.key for item in self.sent.of(Submit)[-1].prepared.items]

    @property
    def idle(self) -> bool:
        return self.stage.idle and not self.actor._feeds and not self.actor._feeds._by_key


@pytest.fixture
def desk(stage: Stage) -> Desk:  # noqa: F811
    return Desk(stage)


async def test_a_document_is_submitted_before_a_page_is_drawn(desk: Desk) -> None:
    desk.prepare("r", desk.document())
    desk.read(3)
    assert not desk.sent.of(Decode)
    assert not desk.sent.of(Features)
    (submit,), (copy,) = desk.sent.of(Submit), desk.sent.of(PreparedCopy)
    assert all(item.later and item.rows == 4 for item in submit.prepared.items)
    assert submit.prepared.media_tokens == {"image": 12}
    assert [source.where for source in copy.sources] == [place_of("doc", n) for n in (1, 2, 3)]
    assert len({item.key for item in submit.prepared.items}) == 3


async def test_a_later_attempt_has_the_keys_of_the_first_whatever_was_reset(desk: Desk) -> None:
    desk.actor.on_reset("media", 1)
    desk.prepare("r", desk.document())
    desk.read(3)
    (copy,) = desk.sent.of(PreparedCopy)
    desk.actor.on_reset("media", 2)
    again = {"attempt": 1, "era": copy.prepared.era}
    for id, fields in (("r", again), ("s", {})):
        desk.prepare(id, desk.document(), **fields)
        if desk.sent.of(ReadDocument)[1:]:
            desk.read(3)
    first, second, other = (one.prepared.items for one in desk.sent.of(PreparedCopy))
    assert first == second
    assert not {item.key for item in first} & {item.key for item in other}


async def test_pages_are_drawn_as_they_are_asked_for_and_not_kept(desk: Desk) -> None:
    desk.prepare("r", desk.document())
    desk.read(3)
    first, second, third = desk.keys
    desk.want(second)
    (job,) = desk.sent.of(Decode)
    assert isinstance(job.item.source, Page)
    assert job.item.source.number == 2
    desk.want(second)
    assert len(desk.sent.of(Decode)) == 1, "it is being drawn"
    desk.draw(job)
    (features,) = desk.sent.of(Features)
    assert (features.key, features.request) == (second, "r")
    desk.actor.on_message("encoder-cache", FeaturesRead((second,)))
    assert desk.sent.of(FreeFeatures)
    assert len(desk.actor._decoding.store) == 0
    desk.want(second, first)
    assert [one.item.source.number for one in desk.sent.of(Decode)] == [2, 2], "one at a time"
    desk.draw(desk.sent.of(Decode)[-1])
    assert desk.sent.of(Decode)[-1].item.source.number == 1
    desk.actor.on_end(("r",))
    desk.draw(desk.sent.of(Decode)[-1])
    assert desk.idle
    desk.want(third)
    assert desk.sent.of(FeaturesGone)[-1].keys == (third,)


async def test_a_page_that_is_damaged_ends_its_request_by_name(desk: Desk) -> None:
    desk.prepare("r", desk.document())
    desk.read(2)
    desk.want(desk.keys[1])
    (job,) = desk.sent.of(Decode)
    fault = Failure("unprocessable_media", "It is damaged.", job.item.where, "page_damaged")
    desk.actor.on_message(W, DecodeFailed(job.job, fault))
    (failed,) = desk.sent.of(RequestFailed)
    assert (failed.id, failed.failure.part) == ("r", "doc, page 2")
    desk.actor.on_end(("r",))
    assert desk.idle


async def test_who_asks_for_the_same_page_goes_on_when_the_first_has_gone(desk: Desk) -> None:
    desk.prepare("one", desk.document())
    desk.read(2)
    desk.prepare("two", desk.document())
    assert len(desk.sent.of(ReadDocument)) == 1, "what is in it is known"
    key = desk.keys[0]
    desk.want(key)
    desk.actor.on_end(("one",))
    assert not desk.sent.of(FeaturesGone)
    desk.draw(desk.sent.of(Decode)[0])
    jobs = desk.sent.of(Decode)
    if len(jobs) > 1:  # of the bytes of who is left
        desk.draw(jobs[-1])
    assert [(one.key, one.request) for one in desk.sent.of(Features)] == [(key, "two")]
    desk.actor.on_end(("two",))
    assert desk.idle


async def test_a_page_that_fails_ends_everybody_who_has_it(desk: Desk) -> None:
    for id in ("one", "two"):
        desk.prepare(id, desk.document())
        if id == "one":
            desk.read(2)
    desk.want(desk.keys[0])
    for _ in range(2):
        job = desk.sent.of(Decode)[-1]
        fault = Failure("unprocessable_media", "It is damaged.", job.item.where, "page_damaged")
        desk.actor.on_message(W, DecodeFailed(job.job, fault))
    assert {failed.id for failed in desk.sent.of(RequestFailed)} == {"one", "two"}
    desk.actor.on_end(("one", "two"))
    assert desk.idle


async def test_workers_keep_no_document_that_no_request_has(desk: Desk) -> None:
    for id in ("one", "two"):
        desk.prepare(id, desk.document())
        if id == "one":
            desk.read(2)
    desk.want(desk.keys[0])
    (job,) = desk.sent.of(Decode)
    assert job.item.digest == "blake3:" + content_digest(
        "blake3", Encoded(job.item.source.blob), PDF
    )
    desk.draw(job)
    desk.actor.on_end(("one",))
    assert not desk.sent.of(ForgetDocument)
    desk.actor.on_end(("two",))
    assert [role for role, sent in desk.sent if isinstance(sent, ForgetDocument)] == [W]


async def test_a_page_that_is_known_from_before_is_not_drawn(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    async with stage_of(checkpoints("qwen_omni"), tmp_path, recalls=True) as shell:
        desk = Desk(shell)
        desk.prepare("r", desk.document())
        desk.read(3)
        first, second, _ = desk.keys
        assert not desk.sent.of(Recall), "nobody reads a whole document ahead"
        desk.want(first)
        (asked,) = desk.sent.of(Recall)
        assert (asked.key, desk.sent.of(Decode)) == (first, [])
        desk.actor.on_message("encoder-cache", Recalled(first, None))
        desk.draw(desk.sent.of(Decode)[0])
        (features,) = desk.sent.of(Features)
        assert features.kept is not None
        assert features.kept.name == asked.name
        assert features.kept.item is not None
        known = msgspec.structs.replace(features.kept.item, key=second)
        desk.want(second)
        desk.want(second)
        other = desk.sent.of(Recall)[-1]
        assert len(desk.sent.of(Recall)) == 2
        assert other.name != asked.name
        desk.actor.on_message("encoder-cache", Recalled(second, known))
        assert (len(desk.sent.of(Decode)), len(desk.sent.of(Features))) == (1, 1)
        desk.actor.on_message("encoder-cache", FeaturesRead((first,)))
        # It was lost after all: it is asked for again.
        desk.want(second)
        assert len(desk.sent.of(Recall)) == 3
        desk.actor.on_end(("r",))
        assert desk.idle
        assert len(desk.actor._decoding.recalling) == 0
        # After a reset the name is the same, and another tenant's is its own.
        desk.actor.on_reset("media", 1)
        for id, whose in (("s", {}), ("t", {"tenant": "bob"})):
            desk.prepare(id, desk.document(), **whose)
            desk.read(3)
            desk.want(desk.keys[0])
        again, bobs = desk.sent.of(Recall)[-2:]
        assert (again.name == asked.name, again.key == asked.key) == (True, False)
        assert bobs.name not in {one.name for one in desk.sent.of(Recall)[:-1]}


async def test_nobody_left_is_told(desk: Desk) -> None:
    desk.prepare("r", desk.document())
    desk.read(2)
    key = desk.keys[0]
    desk.want(key)
    desk.actor.on_end(("r",))
    assert desk.sent.of(FeaturesGone)[-1].keys == (key,)


async def test_text_stands_beside_its_page_or_in_its_place(desk: Desk) -> None:
    for layer in ("beside", "only"):
        desk.prepare(layer, desk.document(text=layer))
        desk.read(2)
        job = desk.sent.of(ReadText)[-1]
        assert job.numbers == (1, 2)
        assert not [one for one in desk.sent.of(Submit) if one.prepared.id == layer]
        desk.actor.on_message(W, TextRead(job.job, ("first", "second")))
    beside, only = (copy.text for copy in desk.sent.of(PreparedCopy))
    assert beside.index("first") < beside.index("second") < beside.index("well")
    assert "first\n\nsecond" in only
    assert [len(one.prepared.items) for one in desk.sent.of(Submit)] == [2, 0]


async def test_a_text_file_is_a_text_and_pages_without_text_are_said(desk: Desk) -> None:
    desk.prepare("text", desk.document())
    desk.read(text="plain words")
    assert "plain words" in desk.sent.of(PreparedCopy)[-1].text
    desk.prepare("scan", desk.document(b"%PDF-scan", text="only"))
    desk.read(1, data=b"%PDF-scan")
    job = desk.sent.of(ReadText)[-1]
    desk.actor.on_message(W, TextRead(job.job, ("",)))
    (failed,) = desk.sent.of(RequestFailed)
    assert failed.failure.code == "no_text_layer"
    assert desk.idle


async def test_a_preview_tells_each_page_and_ends_here(desk: Desk) -> None:
    desk.prepare("r", desk.document(), preview=True)
    desk.read(3)
    (told,) = desk.sent.of(Previewed)
    assert [item.where for item in told.items] == [place_of("doc", n) for n in (1, 2, 3)]
    assert [item.tokens for item in told.items] == [4, 4, 4]
    assert not desk.sent.of(Submit)
    assert desk.idle


@pytest.mark.parametrize(
    ("others", "company"),
    [
        ([], False),
        ([(b"plain words", {})], False),
        ([(b"%PDF-1.4 another", {"text": "only"})], False),
        ([(b"%PDF-1.4 another", {})], True),
        ([(b"\n \n%PDF-1.4 another", {}), (b"plain words", {})], True),
    ],
)
async def test_a_page_is_laid_out_in_the_company_that_it_will_have(
    others: list[tuple[bytes, Any]], company: bool, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """Where pictures beside others come out otherwise, a text or a text layer is no company: else
    the prompt has other rows than the page is drawn with."""
    model = config_of(checkpoints("qwen_omni")).model
    model = msgspec.structs.replace(model, siblings={"image": "image"})
    async with stage_of(checkpoints("qwen_omni"), tmp_path, model=model) as shell:
        desk = Desk(shell)
        desk.prepare("r", desk.document(), *(desk.document(data, **o) for data, o in others))
        jobs = desk.sent.of(ReadDocument)
        for at, (data, options) in enumerate([(PDF, {}), *others]):
            job = desk.sent.of(ReadDocument)[at]
            kind = "pdf" if b"%PDF" in data else "text"
            desk.answer(job, data, pages=1, text=None if kind == "pdf" else "plain words")
            if options.get("text") == "only":
                text = desk.sent.of(ReadText)[-1]
                desk.actor.on_message(W, TextRead(text.job, ("words",)))
        desk.want(desk.keys[0])
        drawn = desk.sent.of(Decode)[0]
        assert (SIBLINGS in jobs[0].io_kwargs, SIBLINGS in drawn.io_kwargs) == (company, company)


async def test_pages_count_as_pictures(checkpoints: Checkpoints, tmp_path: Path) -> None:
    limits = {"limits_per_prompt": {"image": 2}}
    async with stage_of(checkpoints("qwen_omni"), tmp_path, **limits) as shell:
        desk = Desk(shell)
        desk.prepare("r", desk.document())
        desk.read(3)
        (failed,) = desk.sent.of(RequestFailed)
        assert "At most 2 image(s)" in failed.failure.text
        assert failed.failure.part == "doc, page 3"
        assert desk.idle


async def test_a_fetched_document_is_the_fetchers_until_its_request_ends(desk: Desk) -> None:
    made = request(chat(0), (desk.document(),), id="r")
    desk.actor.on_message("fetcher", Fetched(made, ()))
    desk.read(1)
    assert desk.sent.of(Submit)
    assert not desk.sent.to("fetcher", MediaRead)
    desk.actor.on_end(("r",))
    assert [message.id for message in desk.sent.to("fetcher", MediaRead)] == ["r"]
    assert desk.idle


async def test_a_client_that_goes_takes_its_documents_with_it(desk: Desk) -> None:
    desk.prepare("r", desk.document(), client="client-a.1")
    desk.read(1)
    desk.actor.on_gone(Gone("client-a", 1))
    assert desk.idle


async def test_a_document_outside_a_conversation_says_where_it_belongs(desk: Desk) -> None:
    made = request(TextPrompt("x"), (desk.document(),), id="r")
    desk.actor.on_message("client-a", Prepare(made))
    desk.read(1)
    (failed,) = desk.sent.of(RequestFailed)
    assert "conversation" in failed.failure.text
    assert failed.failure.part == "doc"
