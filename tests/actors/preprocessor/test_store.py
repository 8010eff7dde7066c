"""The books of features and ids: nothing that is read goes, nothing is counted twice."""

import pytest
from msgspec.structs import replace

from thespis.actors.preprocessor.store import FeatureEntry, FeatureStore
from thespis.gpu_runtime.processing import Part, ProcessedItem
from thespis.protocol.memory.blobs import BlobRef

from .parts import decoded


def entry(key: str, nbytes: int = 10, worker: str = "decode-worker-0") -> FeatureEntry:
    blob = BlobRef("/dev/shm/x", 0, "uint8", (nbytes,))
    made = decoded(ProcessedItem("<i>", (4,), (Part("image", {}, 4, 1),)), key)
    (part,) = made.parts
    return FeatureEntry(
        replace(made, parts=(replace(part, tensors={"pixel_values": blob}),)), worker
    )


def store(*keys: str, limit: int = 25) -> tuple[FeatureStore, dict[str, FeatureEntry]]:
    made, entries = FeatureStore(limit), {key: entry(key) for key in keys}
    for one in entries.values():
        made.add(one)
    return made, entries


def test_the_least_recently_used_goes_first() -> None:
    books, entries = store("a", "b", "c")
    books.get("a")
    assert books.evict() == [entries["b"]]
    assert (books.bytes, len(books)) == (20, 2)
    assert books.evict() == []


def test_what_is_pinned_or_read_stays() -> None:
    books, entries = store("a", "b", "c", limit=0)
    entries["a"].pins = 1
    entries["b"].leases["b"] = 2
    assert books.evict() == [entries["c"]]
    books.returned("b")
    assert books.evict() == []
    books.returned("b")
    assert books.evict() == [entries["b"]]


def test_each_part_of_an_item_is_read_by_itself() -> None:
    books = FeatureStore(-1)
    film = ProcessedItem("<v><s>", (4, 2), (Part("video", {}, 4, 1), Part("audio", {}, 2, 2)))
    clip = FeatureEntry(decoded(film, "clip"), "decode-worker-0")
    picture, sound = (part.key for part in clip.decoded.parts)
    books.add(clip)
    clip.leases.update([picture, sound])
    books.returned(sound)
    books.returned(sound)  # said twice: the other's lease is not this one's
    assert books.evict() == []
    books.returned(picture)
    assert books.evict() == [clip]
    assert (books.leases, len(books)) == (0, 0)


def test_a_dead_workers_leases_are_not_its_successors() -> None:
    books, entries = store("a", limit=0)
    entries["a"].leases["a"] = 1
    assert books.worker_gone("decode-worker-0") == [entries["a"]]
    again = entry("a", worker="decode-worker-1")
    again.leases["a"] = 1
    books.add(again)
    books.returned("a")  # of the dead one
    assert books.evict() == []
    books.returned("a")
    assert books.evict() == [again]


def test_a_return_after_the_death_owes_nothing() -> None:
    books, entries = store("a", limit=0)
    entries["a"].leases["a"] = 1
    books.worker_gone("decode-worker-0")
    books.returned("a")
    again = entry("a")
    books.add(again)
    assert again.leased == 0


def test_a_dead_reader_reads_nothing() -> None:
    books, entries = store("a", limit=0)
    entries["a"].leases["a"] = 3
    books.reader_gone()
    assert books.evict() == [entries["a"]]


def test_room_is_made_at_one_worker() -> None:
    books, entries = store("a", limit=100)
    books.add(entry("b", worker="decode-worker-1"))
    assert books.evict("decode-worker-0") == [entries["a"]]
    assert len(books) == 1


def test_so_many_small_entries_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thespis.actors.preprocessor.store.ITEMS", 3)
    books, entries = store(*"abcde", limit=1 << 30)
    entries["a"].pins = 1
    assert books.evict() == [entries["b"], entries["c"]]
    assert books.evict() == []
    assert (len(books), books.bytes) == (3, 30)


def test_B14_a_reset_drops_what_nobody_needs_and_the_rest_when_nobody_needs_it() -> None:
    books, entries = store("a", "b", "c", limit=100)
    entries["a"].pins = 1
    entries["b"].leases["b"] = 1
    assert books.reset() == [entries["c"]]
    books.add(later := entry("d"))
    assert books.evict() == []
    books.returned("b")
    entries["a"].pins = 0
    assert sorted(one.key for one in books.evict()) == ["a", "b"]
    assert (books.evict(), books.get("d"), books.bytes) == ([], later, 10)


def test_B14_what_died_with_its_worker_after_a_reset_may_come_back_and_stay() -> None:
    books, entries = store("a", limit=100)
    entries["a"].pins = 1
    assert books.reset() == []
    books.worker_gone("decode-worker-0")
    books.add(again := entry("a"))
    assert (books.evict(), books.get("a")) == ([], again)
