"""Shared downloads and their leases, in any order of events."""

from collections import Counter

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from thespis.actors.fetcher.download_table import (
    DROPPED,
    Cancel,
    Download,
    DownloadAction,
    DownloadTable,
    FreeBytes,
    Linger,
    Start,
    ToClient,
    ToPreprocessor,
)
from thespis.protocol.edges.shared import RequestFailed
from thespis.protocol.errors import Failure
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.document import DocumentOptions
from thespis.protocol.requests.request import Encoded, MediaItem, Request, TextPrompt, Url
from thespis.protocol.requests.sampling import SamplingParams

SPAN = (1.0, 2.0)


def request(id: str = "r", *urls: str, attempt: int = 0, client: str = "client-a") -> Request:
    media = tuple(
        MediaItem("image", Url(url), f"messages[0].content[{n}]") for n, url in enumerate(urls)
    )
    return Request(
        id=id,
        attempt=attempt,
        client=client,
        arrival=0.0,
        prompt=TextPrompt(""),
        media=media,
        sampling=SamplingParams(),
    )


def started(effects: list[DownloadAction]) -> list[Download]:
    return [effect.download for effect in effects if isinstance(effect, Start)]


def given_ids(effects: list[DownloadAction]) -> list[str]:
    return [effect.message.request.id for effect in effects if isinstance(effect, ToPreprocessor)]


BLOB = BlobRef("f.0-1", 0, "uint8", (4,))


def test_S9_the_same_url_is_downloaded_once_for_all() -> None:
    table = DownloadTable()
    [download] = started(table.open(request("r", "http://a/", "http://a/")))
    assert started(table.open(request("s", "http://a/"))) == []
    effects = table.landed(download, BLOB, SPAN)
    assert given_ids(effects) == ["r", "s"]
    assert table.shared == 1
    assert given_ids(table.open(request("t", "http://a/"))) == ["t"], (
        "what has just landed is shared too"
    )


def test_what_was_said_of_an_item_goes_on_with_its_bytes() -> None:
    """Its own options were lost once."""
    table = DownloadTable()
    asked = request("r", "http://a/")
    said = msgspec.structs.replace(
        asked.media[0], options={"max_pixels": 9}, document=DocumentOptions(dpi=72.0)
    )
    [download] = started(table.open(msgspec.structs.replace(asked, media=(said,))))
    [give] = table.landed(download, BLOB, SPAN)
    assert isinstance(give, ToPreprocessor)
    assert give.message.request.media == (msgspec.structs.replace(said, source=Encoded(BLOB)),)


def dropped(id: str) -> ToClient:
    return ToClient("client-a", RequestFailed(id, 0, DROPPED))


def test_a_request_goes_on_when_its_last_download_is_there() -> None:
    table = DownloadTable()
    first, second = started(table.open(request("r", "http://a/", "http://b/")))
    assert table.landed(first, BLOB, SPAN) == []
    [give] = table.landed(second, BLOB, SPAN)
    assert isinstance(give, ToPreprocessor)
    items = give.message.request.media
    assert all(isinstance(item.source, Encoded) for item in items)
    assert [timing.stage for timing in give.message.timings] == ["fetch", "fetch"]


def test_S10_a_failure_names_the_item_of_each_request() -> None:
    table = DownloadTable()
    one, two = started(table.open(request("r", "http://a/", "http://b/")))
    table.open(request("s", "http://b/"))
    effects = table.failed(two, Failure("media_unavailable", "no"))
    tells = [effect for effect in effects if isinstance(effect, ToClient)]
    assert [(tell.message.id, tell.message.failure.part) for tell in tells] == [
        ("r", "messages[0].content[1]"),
        ("s", "messages[0].content[0]"),
    ]
    assert Cancel(one) in effects
    assert len(table) == 0


def test_a_download_is_cancelled_only_when_all_its_requests_are_gone() -> None:
    table = DownloadTable()
    [download] = started(table.open(request("r", "http://a/")))
    table.open(request("s", "http://a/"))
    assert table.end(("r",)) == [dropped("r")]
    assert table.end(("s",)) == [Cancel(download), dropped("s")]


def test_the_bytes_go_when_the_last_reader_has_read_them() -> None:
    table = DownloadTable()
    [download] = started(table.open(request("r", "http://a/")))
    table.open(request("s", "http://a/"))
    table.landed(download, BLOB, SPAN)
    table.delivered("r", 0)
    table.delivered("s", 0)
    table.retire(download)
    assert table.read("r", 0) == []
    assert table.read("s", 0) == [FreeBytes(BLOB)]
    assert table.read("s", 0) == []


def test_an_ended_request_that_is_being_read_keeps_its_bytes_until_media_read() -> None:
    table = DownloadTable()
    [download] = started(table.open(request("r", "http://a/")))
    table.landed(download, BLOB, SPAN)
    table.delivered("r", 0)
    table.retire(download)
    assert table.end(("r",)) == [Linger("r", 0)]
    assert table.end(("r",)) == []
    assert table.read("r", 0) == [FreeBytes(BLOB)]


def test_what_could_not_be_delivered_waits_for_a_preprocessor() -> None:
    table = DownloadTable()
    [download] = started(table.open(request("r", "http://a/")))
    table.landed(download, BLOB, SPAN)
    table.preprocessor_gone()
    assert given_ids(table.undelivered()) == ["r"]
    table.delivered("r", 0)
    assert table.undelivered() == []


def test_what_is_sent_again_because_of_a_death_waits_for_a_later_preprocessor() -> None:
    table = DownloadTable()
    [download] = started(table.open(request("r", "http://a/", attempt=1), after=3))
    [give] = table.landed(download, BLOB, SPAN)
    assert isinstance(give, ToPreprocessor)
    assert give.after == 3
    table.preprocessor_gone()
    assert table.undelivered() == [give], (
        "it was not sent, so the news of the death does not concern it"
    )


def test_work_after_the_end_is_dropped() -> None:
    table = DownloadTable()
    table.end(("r",))
    assert table.open(request("r", "http://a/")) == [dropped("r")], "its own bytes are free again"


def test_a_higher_attempt_replaces_a_lower_one() -> None:
    table = DownloadTable()
    table.open(request("r", "http://a/"))
    effects = table.open(request("r", "http://b/", attempt=1))
    assert [download.url for download in started(effects)] == ["http://b/"]
    assert table.open(request("r", "http://a/")) == []
    assert len(table) == 1


def test_a_higher_attempt_goes_on_with_the_downloads_of_the_lower_one() -> None:
    """It is sent because a preprocessor has died, of which a slow download knows nothing."""
    table = DownloadTable()
    slow, quick = started(
        table.open(request("r", "http://slow/", "http://quick/", "http://other/"))
    )[:2]
    table.landed(quick, BLOB, SPAN)
    table.retire(quick)
    effects = table.open(request("r", "http://slow/", "http://quick/", attempt=1))
    assert [type(effect) for effect in effects] == [Cancel], "what it does not name any more"
    assert given_ids(table.landed(slow, BLOB, SPAN)) == ["r"]
    assert table.shared == 0


def test_a_client_that_is_gone_takes_its_requests_along() -> None:
    table = DownloadTable()
    [download] = started(table.open(request("r", "http://a/")))
    table.open(request("s", "http://a/", client="client-b"))
    assert table.client_gone("client-a") == []
    assert given_ids(table.landed(download, BLOB, SPAN)) == ["s"]


def test_what_is_withdrawn_is_void_and_a_later_attempt_is_welcome() -> None:
    table = DownloadTable()
    [download] = started(table.open(request("r", "http://a/")))
    assert table.withdraw("r", 0) == [Cancel(download)]
    assert table.withdraw("r", 0) == []
    assert started(table.open(request("r", "http://a/", attempt=1)))
    assert table.withdraw("r", 0) == []
    assert len(table) == 1


class BoardMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.table = DownloadTable()
        self.running: list[Download] = []
        self.landed: list[Download] = []
        self.blobs: set[int] = set()
        self.serial = 0
        self.requests: dict[str, Request] = {}
        self.sent: set[tuple[str, int]] = set()
        self.answers: Counter[tuple[str, int]] = Counter()

    def take(self, effects: list[DownloadAction]) -> None:
        for effect in effects:
            match effect:
                case Start(download):
                    assert all(
                        (f.modality, f.url) != (download.modality, download.url)
                        for f in self.running
                    )
                    self.running.append(download)
                case Cancel(download):
                    self.running.remove(download)
                case FreeBytes(blob):
                    self.blobs.remove(blob.offset)
                case ToPreprocessor(message):
                    name = message.request.id, message.request.attempt
                    for item in message.request.media:
                        assert isinstance(item.source, Encoded)
                        assert item.source.blob.offset in self.blobs
                    self.table.delivered(*name)
                    self.sent.add(name)
                    self.answers[name] += 1
                case ToClient(_, message):
                    self.answers[message.id, message.attempt] += 1

    @rule(urls=st.lists(st.sampled_from("abc"), min_size=1, max_size=3))
    def fetch(self, urls: list[str]) -> None:
        self.serial += 1
        asked = self.requests[str(self.serial)] = request(
            str(self.serial), *urls, client=f"client-{self.serial % 2}"
        )
        self.take(self.table.open(asked))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def fetch_again(self, data: st.DataObject) -> None:
        old = self.requests[data.draw(st.sampled_from(list(self.requests)))]
        new = self.requests[old.id] = msgspec.structs.replace(old, attempt=old.attempt + 1)
        self.take(self.table.open(new))

    @precondition(lambda self: self.running)
    @rule(fails=st.booleans())
    def arrive(self, fails: bool) -> None:
        download = self.running.pop(0)
        if fails:
            self.take(self.table.failed(download, Failure("media_unavailable", "no")))
        else:
            self.serial += 1
            self.blobs.add(self.serial)
            self.landed.append(download)
            self.take(
                self.table.landed(download, BlobRef("f.0-1", self.serial, "uint8", (1,)), SPAN)
            )

    @precondition(lambda self: self.landed)
    @rule()
    def retire(self) -> None:
        download = self.landed.pop(0)
        if download.joinable:
            self.take(self.table.retire(download))

    @rule(id=st.integers(1, 40).map(str))
    def end(self, id: str) -> None:
        self.take(self.table.end((id,)))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        self.take(self.table.read(*data.draw(st.sampled_from(sorted(self.sent)))))

    @rule()
    def preprocessor_dies(self) -> None:
        self.take(self.table.preprocessor_gone())

    @rule(client=st.sampled_from(["client-0", "client-1"]))
    def client_dies(self, client: str) -> None:
        self.take(self.table.client_gone(client))

    @invariant()
    def one_answer_each(self) -> None:
        assert all(count == 1 for count in self.answers.values())

    def teardown(self) -> None:
        while self.running:
            self.arrive(False)
        while self.landed:
            self.retire()
        for name in self.sent:
            self.take(self.table.read(*name))
        assert (len(self.table), self.blobs) == (0, set())


TestBoardMachine = BoardMachine.TestCase
TestBoardMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
