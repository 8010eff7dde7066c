from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.actors.fetcher.shelf import NOTE_BYTES, Note, Shelf

A, B, C = "a" * 64, "b" * 64, "c" * 64


def note(digest: str, size: int = 100, expires: float = 50.0) -> Note:
    return Note(digest, size, expires)


def test_what_was_put_on_is_found_until_its_time() -> None:
    shelf = Shelf(1 << 20, 60.0)
    assert shelf.add("u", note(A), 0.0) == ([], [])
    assert shelf.find("u", 49.0) == note(A)
    assert shelf.find("u", 50.0) is None
    assert shelf.find("v", 0.0) is None


def test_a_note_from_too_far_ahead_is_not_believed() -> None:
    shelf = Shelf(1 << 20, 60.0)
    shelf.add("u", note(A, expires=60.0), 0.0)
    assert shelf.find("u", -1.0) is None, "the clock went back"
    assert shelf.add("v", note(B, expires=61.0), 0.0) == (["v"], [B])


def test_the_least_recently_used_goes_first() -> None:
    shelf = Shelf(2 * (100 + NOTE_BYTES), 60.0)
    shelf.add("u", note(A), 0.0)
    shelf.add("v", note(B), 0.0)
    shelf.find("u", 0.0)
    assert shelf.add("w", note(C), 0.0) == (["v"], [B])
    assert shelf.find("u", 0.0) is not None


def test_a_content_stays_while_one_url_names_it() -> None:
    shelf = Shelf(1 << 20, 60.0)
    shelf.add("u", note(A), 0.0)
    shelf.add("v", note(A), 0.0)
    assert shelf.nbytes == 100 + 2 * NOTE_BYTES
    assert shelf.drop("u") == (["u"], [])
    assert shelf.drop("v") == (["v"], [A])
    assert (shelf.nbytes, len(shelf)) == (0, 0)


def test_new_bytes_under_a_known_url_replace_the_old() -> None:
    shelf = Shelf(1 << 20, 60.0)
    shelf.add("u", note(A), 0.0)
    assert shelf.add("u", note(B), 0.0) == ([], [A])
    assert shelf.add("u", note(B, expires=55.0), 1.0) == ([], [])
    assert shelf.find("u", 54.0) == note(B, expires=55.0)


def test_what_is_larger_than_the_whole_is_not_kept() -> None:
    shelf = Shelf(1000 + NOTE_BYTES, 60.0)
    assert shelf.fits(1000)
    assert not shelf.fits(1001)
    assert shelf.add("u", note(A, 1001), 0.0) == (["u"], [A])


def test_the_expired_go_together() -> None:
    shelf = Shelf(1 << 20, 60.0)
    shelf.add("u", note(A, expires=10.0), 0.0)
    shelf.add("v", note(B), 0.0)
    assert shelf.expired(10.0) == (["u"], [A])


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("abcde"), st.integers(1, 60)),
        max_size=40,
    )
)
def test_books_and_files_agree_whatever_comes(calls: list[tuple[str, str, int]]) -> None:
    """A model of the files: what was written and not removed is what the shelf counts, and never
    more than its bound."""
    shelf = Shelf(3 * NOTE_BYTES + 1000, 60.0)
    notes: dict[str, str] = {}
    contents: set[str] = set()
    sizes = dict(zip("abcde", (10, 200, 300, 400, 5000), strict=True))
    for now, (key, digest, lifetime) in enumerate(calls):
        notes[key] = digest
        contents.add(digest)
        for gone in (
            shelf.add(key, Note(digest, sizes[digest], now + lifetime), now),
            shelf.expired(now),
        ):
            for name in gone.keys:
                notes.pop(name, None)
            contents -= set(gone.digests)
        assert set(notes.values()) == contents
        assert (
            shelf.nbytes
            == sum(sizes[digest] for digest in contents) + NOTE_BYTES * len(notes)
            <= 3 * NOTE_BYTES + 1000
        )
