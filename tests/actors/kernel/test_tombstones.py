from thespis.actors.kernel.tombstones import Tombstones


def test_the_youngest_ids_are_kept() -> None:
    over = Tombstones(limit=2)
    over.add(("a", "b"))
    over.add(("a", "c"))
    assert [id in over for id in "abc"] == [True, False, True]


def test_an_id_that_is_taken_back_is_not_kept() -> None:
    over = Tombstones()
    over.add(("a",))
    over.discard("a")
    over.discard("b")
    assert "a" not in over
