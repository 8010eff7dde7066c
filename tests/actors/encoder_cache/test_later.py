"""Items whose features are made when they are asked for: asked once, waited for as long as it
takes, asked again when they are lost, and given up when nobody could make them."""

from thespis.actors.encoder_cache.entries import FreeEmbedding
from thespis.actors.encoder_cache.kept_store import KeptStore as Store
from thespis.actors.encoder_cache.store import LOST_SECONDS
from thespis.protocol.edges.encoder_cache_to_preprocessor import FeaturesRead, FeaturesWanted
from thespis.protocol.edges.encoder_cache_to_scheduler import EmbeddingReady, Lost
from thespis.protocol.edges.scheduler_to_encoder_cache import Need

from .test_store import ROWS, begin, encode, features, lies_in, need, store


def later(holder: str, *keys: str) -> Need:
    return Need(holder, keys, tuple(ROWS[key] for key in keys), keys)


def test_features_are_asked_for_when_there_is_room_and_not_before() -> None:
    books = store()
    assert books.need(later("h", "a", "d"), 0.0) == [FeaturesWanted(("a", "d"))]
    assert books.need(later("other", "a", "e", "c"), 0.0) == [], "5 rows more than there are"
    books.features(features("a"))
    books.features(features("d"))
    encode(books, "a")
    encode(books, "d")
    told = books.release("h")
    assert FeaturesWanted(("e", "c")) in told
    assert any(isinstance(one, EmbeddingReady) and one.key == "a" for one in told)


def test_what_is_held_is_not_asked_for() -> None:
    books = store()
    books.need(need("h", "a"), 0.0)
    books.features(features("a"))
    encode(books, "a")
    (ready,) = books.need(later("other", "a"), 0.0)
    assert isinstance(ready, EmbeddingReady)


def test_they_may_take_long() -> None:
    books = store()
    books.need(later("h", "a"), 0.0)
    books.need(need("h", "b"), 0.0)
    assert books.expire(LOST_SECONDS + 1) == [Lost("b", ("h",))]
    assert not books.waiting_for_features
    books.features(features("a"))
    assert [job.key for job in books.queue()] == ["a"]


def test_features_that_die_with_their_worker_are_asked_for_again() -> None:
    books = store()
    books.need(later("h", "a"), 0.0)
    books.features(features("a", "w.1-1"))
    told = books.unlease(lambda made: lies_in(made, "w.1-"))
    assert told == [FeaturesRead(("a",)), FeaturesWanted(("a",))]
    books.features(features("a", "w.2-1"))
    assert [job.key for job in books.queue()] == ["a"]


def test_nobody_waits_for_what_nobody_could_make() -> None:
    books = store()
    books.need(later("h", "a", "b"), 0.0)
    books.features(features("b"))
    assert books.gone(["a", "b", "x"]) == [Lost("a", ("h",))], "b is here"


def test_a_preprocessor_that_dies_loses_them() -> None:
    books = store()
    books.need(later("h", "a"), 0.0)
    assert books.source(False) == [Lost("a", ("h",))]
    assert books.need(later("h2", "a"), 1.0) == [Lost("a", ("h2",))]


def test_a_holder_lets_go_of_some_and_asks_for_more() -> None:
    books = store()
    books.need(later("h", "c", "d"), 0.0)
    for key in ("c", "d"):
        books.features(features(key))
        encode(books, key)
    assert books.need(later("h", "e"), 1.0) == [], "no room"
    told = books.release("h", ("c",))
    assert [one for one in told if isinstance(one, FreeEmbedding)], "c makes room"
    assert FeaturesWanted(("e",)) in told
    assert books.gauges()["pinned"] == 2
    books.release("h", ("e",))
    assert books.gauges()["pinned"] == 1
    books.release("h")
    assert books.gauges()["pinned"] == 0


def test_what_is_let_go_while_it_waits_for_space_is_not_claimed() -> None:
    books: Store = store()
    books.need(later("h", "c", "d"), 0.0)
    books.need(later("other", "b", "e"), 0.0)
    assert books.gauges()["waiting_for_space"] == 1
    books.release("other", ("e",))
    assert books.gauges()["waiting_for_space"] == 0, "b alone has room"
    books.release("other", ("b",))
    books.release("other")
    books.release("h")
    assert len(books) == 0


def test_features_whose_encoder_died_when_they_were_gone_are_asked_for_again() -> None:
    books = store()
    books.need(later("h", "a"), 0.0)
    books.features(features("a", "w.1-1"))
    begin(books, "a")
    books.unlease(lambda made: lies_in(made, "w.1-"))
    assert books.again("a") == [FeaturesWanted(("a",))]
    books.features(features("a", "w.2-1"))
    assert [job.key for job in books.queue()] == ["a"]
