from thespis.actors.tombstones import Tombstones


def test_the_youngest_ids_are_kept() -> None:
    over = Tombstones(limit=2)
    over.add(("a", "b"))
    over.add(("a", "c"))
    assert [id in over for id in "abc"] == [True, False, True]
