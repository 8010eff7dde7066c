"""The books: one answer per holder and key, never over the space, nothing pinned evicted, first
come first served."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from thespis.actors.encoder_cache.batching import Job
from thespis.actors.encoder_cache.entries import FreeEmbedding, ReadKept, StoreEffect
from thespis.actors.encoder_cache.kept_store import KeptStore as Store
from thespis.actors.encoder_cache.store import LOST_SECONDS
from thespis.protocol.edges.encoder_cache_to_preprocessor import FeaturesRead
from thespis.protocol.edges.encoder_cache_to_scheduler import EmbeddingReady, EncodeFailed, Lost
from thespis.protocol.edges.preprocessor_to_encoder_cache import Features
from thespis.protocol.edges.scheduler_to_encoder_cache import Need
from thespis.protocol.errors import Failure
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.prepared import Timing

ROW = 64
"""Bytes of a row: the arena's alignment, so that books and rows agree."""
FAULT = Failure("internal", "no")
ROWS = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 11}
"""Rows by key; `f` alone is more than the capacity of 10."""


def store(capacity: int = 10, features: int = 1 << 20) -> Store:
    return Store(capacity * ROW, ROW, features)


def need(holder: str, *keys: str) -> Need:
    return Need(holder, keys, tuple(ROWS[key] for key in keys))


def features(key: str, segment: str = "w.0-1", request: str = "r") -> Features:
    return Features(
        request,
        "client-a",
        key,
        "image",
        ROWS[key],
        {"pixel_values": BlobRef(segment, 0, "uint8", (100,))},
    )


def lies_in(made: Features, writer: str) -> bool:
    return any(ref.segment.startswith(writer) for ref in made.tensors.values())


def begin(books: Store, key: str) -> Job:
    [job] = [job for job in books.queue() if job.key == key]
    books.begin(key)
    return job


def encode(books: Store, key: str) -> list[StoreEffect]:
    assert books.copied(begin(books, key)) == (True, [])
    return books.read(key) + books.encoded(key, blob(key), None)


def blob(key: str) -> BlobRef:
    return BlobRef("e.0-1", 0, "float32", (ROWS[key], ROW // 4))


class StoreMachine(RuleBasedStateMachine):
    """Any order of messages, encodes, deaths and time."""

    def __init__(self) -> None:
        super().__init__()
        self.books = store(features=300)
        self.now = 0.0
        self.open: Counter[tuple[str, str]] = Counter()
        """(holder, key) asked for and not answered."""
        self.pinned: set[tuple[str, str]] = set()
        """Answered with EmbeddingReady and not released."""
        self.held: dict[str, BlobRef] = {}
        self.encoding: list[Job] = []
        self.copied: list[Job] = []
        """Those of them whose features are not needed, or for a second time only."""
        self.leases: Counter[str] = Counter()
        self.disk: set[str] = set()
        """Keys of what can be read."""
        self.reading: list[str] = []
        self.books.kept = self.disk.__contains__

    def take(self, effects: list[StoreEffect]) -> None:
        for effect in effects:
            match effect:
                case EmbeddingReady(key, holders, ref):
                    for holder in holders:
                        self.answered(holder, key)
                        self.pinned.add((holder, key))
                    assert self.held.setdefault(key, ref) == ref
                case Lost(key, holders) | EncodeFailed(key, holders):
                    for holder in holders:
                        self.answered(holder, key)
                case FeaturesRead(keys):
                    for key in keys:
                        assert self.leases[key] > 0
                        self.leases[key] -= 1
                case ReadKept(key, rows):
                    assert key in self.disk
                    assert rows == ROWS[key]
                    self.reading.append(key)
                case FreeEmbedding(ref):
                    [key] = [key for key, kept in self.held.items() if kept == ref]
                    assert not any(pinned == key for _, pinned in self.pinned), (
                        "evicted while pinned"
                    )
                    del self.held[key]

    def answered(self, holder: str, key: str) -> None:
        assert self.open[holder, key] == 1
        self.open[holder, key] = 0

    @rule(
        holder=st.sampled_from("xyz"),
        keys=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True),
    )
    def ask(self, holder: str, keys: list[str]) -> None:
        self.let_go(holder)
        for key in keys:
            self.open[holder, key] = 1
        self.take(self.books.need(need(holder, *keys), self.now))

    @rule(holder=st.sampled_from("xyz"))
    def let_go(self, holder: str) -> None:
        for pair in list(self.open):
            if pair[0] == holder:
                del self.open[pair]
        self.pinned = {pair for pair in self.pinned if pair[0] != holder}
        self.take(self.books.release(holder))

    @rule(key=st.sampled_from("abcde"), segment=st.sampled_from(["w.0-1", "v.0-1"]))
    def arrive(self, key: str, segment: str) -> None:
        self.leases[key] += 1
        self.take(self.books.features(features(key, segment)))

    @precondition(lambda self: self.books.queue())
    @rule()
    def begin(self) -> None:
        self.encoding.append(begin(self.books, self.books.queue()[0].key))

    @precondition(lambda self: self.encoding)
    @rule()
    def copy(self) -> None:
        job = self.encoding.pop(0)
        intact, effects = self.books.copied(job)
        self.take(effects)
        if intact:
            self.copied.append(job)

    @precondition(lambda self: self.encoding or self.copied)
    @rule(which=st.integers(0, 3))
    def encoder_dies(self, which: int) -> None:
        """One beside the process of these books."""
        hand = self.encoding if self.encoding else self.copied
        self.take(self.books.again(hand.pop(which % len(hand)).key))

    @precondition(lambda self: self.copied)
    @rule(fails=st.booleans())
    def end(self, fails: bool) -> None:
        key = self.copied.pop(0).key
        self.take(self.books.read(key))
        if fails:
            self.take(self.books.failed(key, FAULT))
        else:
            self.held[key] = blob(key)
            self.take(self.books.encoded(key, blob(key), None))

    @rule(key=st.sampled_from("abcde"))
    def is_written(self, key: str) -> None:
        self.disk.add(key)

    @rule(key=st.sampled_from("abcde"))
    def is_recalled(self, key: str) -> None:
        room, effects = self.books.reserve(key, ROWS[key])
        self.take(effects)
        if room:
            self.reading.append(key)

    @precondition(lambda self: self.reading)
    @rule(intact=st.booleans())
    def is_read(self, intact: bool) -> None:
        key = self.reading.pop(0)
        if intact:
            self.held[key] = blob(key)
            self.take(self.books.recalled(key, blob(key), None))
        else:
            self.disk.discard(key)
            self.take(self.books.unread(key))

    @rule()
    def reset(self) -> None:
        self.take(self.books.reset())
        assert self.held.keys() == {key for _, key in self.pinned}

    @rule()
    def worker_dies(self) -> None:
        self.take(self.books.unlease(lambda made: lies_in(made, "v.")))

    @rule()
    def request_ends(self) -> None:
        self.take(self.books.over({"r"}))

    @rule()
    def preprocessor_dies(self) -> None:
        self.take(self.books.source(False))
        self.leases.clear()
        self.take(self.books.source(True))

    @rule()
    def time_passes(self) -> None:
        self.now += LOST_SECONDS
        self.take(self.books.expire(self.now))

    @rule()
    def scheduler_dies(self) -> None:
        self.open.clear()
        self.pinned.clear()
        self.take(self.books.release_all())

    @invariant()
    def within_the_space(self) -> None:
        assert self.books.bytes_used <= 10 * ROW
        assert self.books.bytes_used >= sum(ROWS[key] * ROW for key in self.held)

    def teardown(self) -> None:
        """Whatever happened: let it work on, and everybody gets the answer that is due, and all
        space comes back."""
        for _ in range(40):
            self.now += LOST_SECONDS
            while self.reading:
                self.is_read(False)
            while self.books.queue():
                self.begin()
            while self.encoding:
                self.copy()
            while self.copied:
                self.end(False)
            self.take(self.books.expire(self.now))
            if not any(self.open.values()):
                break
            if (
                self.books.gauges()["waiting_for_space"] and self.pinned
            ):  # else what was just admitted is due at the next round
                self.let_go(next(holder for holder, _ in sorted(self.pinned)))
        assert not any(self.open.values())
        for holder in "xyz":
            self.let_go(holder)
        self.request_ends()
        while (free := self.books.evict_one()) is not None:
            self.take([free])
        assert (self.books.bytes_used, len(self.books), self.held) == (0, 0, {})
        assert not any(self.leases.values())


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_need_then_features_and_features_then_need_are_the_same() -> None:
    for order in (0, 1):
        books = store()
        if order:
            books.features(features("a"))
        assert books.need(need("x", "a"), 0.0) == []
        if not order:
            books.features(features("a"))
        assert encode(books, "a") == [
            FeaturesRead(("a",)),
            EmbeddingReady("a", ("x",), blob("a")),
        ]


def test_what_is_held_is_ready_at_once_and_its_features_are_given_back() -> None:
    books = store()
    books.features(features("a"))
    books.need(need("x", "a"), 0.0)
    encode(books, "a")
    assert books.need(need("y", "a"), 0.0) == [EmbeddingReady("a", ("y",), blob("a"))]
    assert books.features(features("a")) == [FeaturesRead(("a",))]
    assert books.hits == 1


def test_an_item_that_is_being_encoded_is_joined() -> None:
    books = store()
    books.features(features("a"))
    books.need(need("x", "a"), 0.0)
    books.begin("a")
    assert books.need(need("y", "a"), 0.0) == []
    books.read("a")
    assert books.encoded("a", blob("a"), None) == [EmbeddingReady("a", ("x", "y"), blob("a"))]
    assert books.joined == 1


def test_an_encoder_that_rests_begins_before_it_is_asked() -> None:
    books = store()
    books.features(features("a"))
    books.features(features("b"))
    assert [job.key for job in books.queue()] == ["a"]
    assert encode(books, "a") == [FeaturesRead(("a",))]
    assert books.queue() == []  # of what nobody has asked for there is one item at most
    timing = Timing("encode", 0.0, 1.0)
    assert books.need(need("x", "a"), 0.0) == [EmbeddingReady("a", ("x",), blob("a"))]
    books.features(features("c"))
    books.begin("c")
    books.read("c")
    assert books.encoded("c", blob("c"), timing) == []
    assert books.need(need("x", "c"), 0.0) == [EmbeddingReady("c", ("x",), blob("c"), timing)]
    assert books.need(need("y", "c"), 0.0) == [EmbeddingReady("c", ("y",), blob("c"))]
    assert (books.hits, books.joined) == (2, 0)


def test_what_was_begun_ahead_and_failed_is_told_who_asks_for_it() -> None:
    books = store()
    books.features(features("a"))
    books.begin("a")
    books.read("a")
    assert books.failed("a", FAULT) == []
    assert books.need(need("x", "a"), 0.0) == [EncodeFailed("a", ("x",), FAULT)]
    assert (books.failed_count, books.bytes_used, len(books)) == (1, 0, 0)


@pytest.mark.parametrize("fails", [True, False])
def test_what_nobody_asks_for_makes_way_when_its_request_ends(fails: bool) -> None:
    books = store()
    books.features(features("a"))
    books.begin("a")
    books.read("a")
    if fails:
        books.failed("a", FAULT)
    else:
        books.encoded("a", blob("a"), None)
    books.over({"r"})
    assert len(books) == (not fails)
    books.features(features("b", request="s"))
    assert [job.key for job in books.queue()] == ["b"]


def test_nothing_is_begun_ahead_of_others_or_by_who_may_not() -> None:
    books = store()
    books.need(need("x", "a"), 0.0)
    books.features(features("b"))
    assert books.queue() == []
    books = Store(10 * ROW, ROW, 1 << 20, ahead=False)
    books.features(features("a"))
    assert books.queue() == []


def test_features_sent_twice_are_two_leases() -> None:
    books = store()
    books.features(features("a"))
    books.features(features("a"))
    books.need(need("x", "a"), 0.0)
    books.begin("a")
    assert books.read("a") == [FeaturesRead(("a", "a"))]


def test_space_is_had_in_order_of_arrival() -> None:
    books = store()
    books.need(need("x", "d", "c"), 0.0)
    books.need(need("y", "e"), 0.0)
    books.need(need("z", "a"), 0.0)
    for key in "ea":
        books.features(features(key))
    assert [job.key for job in books.queue()] == [], "z would fit, but y came before it"
    books.release("x")
    assert [job.key for job in books.queue()] == ["e", "a"]


def test_the_longest_unused_goes_first() -> None:
    books = store()
    for key in "abc":
        books.features(features(key))
        books.need(need(key, key), 0.0)
        encode(books, key)
    for holder in "bac":
        books.release(holder)
    effects = books.need(need("x", "e"), 0.0)
    assert effects == [FreeEmbedding(blob("b"))], (
        "b's two rows are enough: 1 + 3 + 5 of 10 are used"
    )
    assert books.evicted == 1


def test_more_than_there_ever_is_fails_every_key() -> None:
    effects = store().need(need("x", "f", "a"), 0.0)
    assert [(e.key, e.failure.kind) for e in effects if isinstance(e, EncodeFailed)] == [
        ("f", "too_large"),
        ("a", "too_large"),
    ]


def test_features_that_do_not_come_are_lost() -> None:
    books = store()
    books.need(need("x", "a"), 0.0)
    assert books.expire(LOST_SECONDS - 0.1) == []
    assert books.expire(LOST_SECONDS) == [Lost("a", ("x",))]
    assert books.bytes_used == 0


def test_without_a_preprocessor_what_is_missing_is_lost_at_once() -> None:
    books = store()
    books.need(need("x", "a"), 0.0)
    assert books.source(False) == [Lost("a", ("x",))]
    assert books.need(need("x", "b"), 0.0) == [Lost("b", ("x",))]


def test_features_of_a_dead_worker_are_lost_where_no_other_has_them() -> None:
    books = store()
    for key, segment in (("a", "v.0-1"), ("b", "v.0-1"), ("b", "w.0-1")):
        books.features(features(key, segment))
    books.need(need("x", "a", "b"), 0.0)
    assert books.unlease(lambda made: lies_in(made, "v.")) == [
        FeaturesRead(("a", "b")),
        Lost("a", ("x",)),
    ]
    assert [job.key for job in books.queue()] == ["b"]


def test_a_copy_made_while_its_writer_went_is_not_encoded() -> None:
    books = store()
    books.features(features("a"))
    books.need(need("x", "a"), 0.0)
    job = begin(books, "a")
    books.source(False)
    assert books.copied(job) == (False, [Lost("a", ("x",))])


def test_a_copy_of_bytes_that_were_given_back_is_made_again_of_others() -> None:
    books = store()
    books.features(features("a", "w.0-1", request="r"))
    books.need(need("x", "a"), 0.0)
    job = begin(books, "a")
    books.features(features("a", "v.0-1", request="s"))
    books.over({"r"})
    assert books.copied(job) == (False, [])
    assert [lies_in(job.features, "v.") for job in books.queue()] == [True]
    assert encode(books, "a") == [FeaturesRead(("a",)), EmbeddingReady("a", ("x",), blob("a"))]


def test_what_an_encoder_died_with_is_next_of_the_same_features() -> None:
    books = store()
    for key in "abc":
        books.features(features(key))
    books.need(need("x", *"abc"), 0.0)
    begin(books, "a")
    job = begin(books, "b")
    assert books.copied(job) == (True, [])
    assert books.again("b") == []
    assert books.again("a") == []
    assert [job.key for job in books.queue()] == ["a", "b", "c"]
    assert encode(books, "b") == [FeaturesRead(("b",)), EmbeddingReady("b", ("x",), blob("b"))]


def test_what_an_encoder_died_with_is_nothing_where_nobody_wants_it_or_can_give_it() -> None:
    books = store()
    for key in "ab":
        books.features(features(key))
    books.need(need("x", "a"), 0.0)
    books.need(need("y", "b"), 0.0)
    begin(books, "a")
    begin(books, "b")
    books.release("y")
    books.source(False)
    assert books.again("a") == [Lost("a", ("x",))]
    assert books.again("b") == []
    assert (len(books), books.bytes_used) == (0, 0)


def test_features_nobody_asks_for_are_given_back_beyond_the_bound() -> None:
    books = store(features=250)
    books.features(features("a"))
    books.need(need("x", "a"), 0.0)
    books.features(features("b"))
    assert books.features(features("c")) == [FeaturesRead(("b",))], "a is asked for"


@pytest.mark.parametrize("state", ["claimed", "wanted", "held", "gone"])
def test_release_is_idempotent(state: str) -> None:
    books = store()
    books.need(need("other", *("de" if state == "claimed" else "a")), 0.0)
    books.need(need("x", "b"), 0.0)
    if state == "held":
        books.features(features("b"))
        encode(books, "b")
    books.release("x")
    used = books.bytes_used
    assert (books.release("x"), books.bytes_used) == ([], used)


@settings(deadline=None)
@given(st.permutations(["x", "y", "z"]))
def test_one_failure_answers_everybody_who_waits(order: list[str]) -> None:
    books = store()
    books.features(features("a"))
    for holder in order:
        books.need(need(holder, "a"), 0.0)
    books.begin("a")
    books.read("a")
    assert books.failed("a", FAULT) == [EncodeFailed("a", tuple(order), FAULT)]
    assert books.bytes_used == 0


def test_features_go_with_their_request_and_who_needs_them_loses_them() -> None:
    books = store()
    for key, request in (("a", "r"), ("b", "r"), ("b", "s"), ("c", "r")):
        books.features(features(key, request=request))
    books.need(need("x", "b", "c"), 0.0)
    assert books.unlease(lambda one: one.request == "r") == [
        FeaturesRead(("a", "b", "c")),
        Lost("c", ("x",)),
    ]
    assert [job.key for job in books.queue()] == ["b"]
    assert books.unlease(lambda one: one.request == "r") == []


def test_so_many_small_embeddings_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thespis.actors.encoder_cache.books.ITEMS", 2)
    books = store(capacity=100)
    for key in "abc":
        books.features(features(key))
        books.need(need(f"h-{key}", key), 0.0)
        encode(books, key)
    assert len(books) == 3, "what is in use stays"
    assert books.release("h-b") == [FreeEmbedding(blob("b"))]
    assert books.release("h-a") == []
    assert (len(books), books.evicted, books.gauges()["pinned"]) == (2, 1, 1)
    assert EmbeddingReady("a", ("again",), blob("a")) in books.need(need("again", "a"), 1.0)
    assert books.hits == 1


def test_B14_a_reset_frees_what_nobody_holds_and_the_rest_with_its_last_holder() -> None:
    books = store()
    for holder, key in (("x", "a"), ("y", "b"), ("z", "c")):
        books.features(features(key))
        books.need(need(holder, key), 0.0)
    encode(books, "a")
    encode(books, "b")
    books.release("x")
    assert books.reset() == [FreeEmbedding(blob("a"))]
    assert books.release("y") == [FreeEmbedding(blob("b"))]
    assert [type(effect) for effect in encode(books, "c")] == [
        FeaturesRead,
        EmbeddingReady,
    ]  # it was under way
    assert books.release("z") == [FreeEmbedding(blob("c"))]
    assert (len(books), books.bytes_used) == (0, 0)
    books.features(features("a"))
    books.need(need("x", "a"), 0.0)
    encode(books, "a")
    assert books.release("x") == []  # kept again


def test_B14_a_reset_makes_room_for_who_waits() -> None:
    books = store(capacity=5)
    books.features(features("c"))
    books.need(need("x", "c"), 0.0)
    encode(books, "c")
    books.need(need("y", "d"), 0.0)
    books.reset()
    gauges = books.gauges()
    assert (gauges["waiting_for_space"], gauges["pinned"]) == (1, 1)  # pinned, whatever is asked
    books.release("x")
    assert books.gauges()["waiting_for_space"] == 0


def test_items_are_told_with_their_hits_those_in_use_first() -> None:
    books = store()
    for key in "ab":
        books.need(need(f"h{key}", key), 0.0)
        books.features(features(key))
        encode(books, key)
        books.release(f"h{key}")
    books.need(need("again", "a"), 1.0)
    books.need(need("waits", "c"), 1.0)
    told = [(one.key, one.state, one.hits, one.holders, one.rows) for one in books.seen().items]
    assert told == [("c", "wanted", 0, 1, 3), ("a", "held", 1, 1, 1), ("b", "held", 0, 0, 2)]
    assert books.seen().items[1].modality == "image"
    assert sum(one.nbytes for one in books.seen().items) == books.bytes_used
