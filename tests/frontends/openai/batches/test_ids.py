"""KnownIds of a million lines take 16 bytes each, and none is held for another."""

import copy
import tracemalloc

import pytest

from thespis.frontends.openai.batches import ids as module
from thespis.frontends.openai.batches.ids import KnownIds


def test_what_was_added_is_there_and_nothing_else() -> None:
    ids = KnownIds()
    given = [f"row-{number}" for number in range(20_000)]
    for number, id in enumerate(given):
        assert id not in ids
        ids.add(id)
        ids.add(given[number // 2])  # again
        assert id in ids
    assert len(ids) == len(given)
    assert all(id in ids for id in given)
    assert not any(f"row-{number}" in ids for number in range(20_000, 21_000))
    other = copy.deepcopy(ids)
    assert len(other) == len(given)
    assert "row-7" in other


def test_digests_that_end_with_zeros_are_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy leaves such zeros out."""
    monkeypatch.setattr(module, "_digest", lambda id: bytes.fromhex(id).ljust(16, b"\0"))
    monkeypatch.setattr(module, "LEAST", 2)
    ids = KnownIds()
    given = ["", "01", "0100aa", "0001", "ff"]
    for id in given:
        ids.add(id)
    assert [id in ids for id in given] == [True] * 5
    assert "aa" not in ids
    assert len(ids) == 5


def test_texts_that_are_no_unicode_are_ids() -> None:
    ids = KnownIds()
    ids.add("\ud800")
    assert "\ud800" in ids


def test_twenty_thousand_take_few_bytes() -> None:
    ids = KnownIds()
    tracemalloc.start()
    for number in range(20_000):
        ids.add(str(number))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 20_000 * 48
    assert len(ids) == 20_000
