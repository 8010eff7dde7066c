"""What is pinned stays, whoever wants room and whichever engine made the pin; nothing else does."""

import threading
import time
from pathlib import Path

import pytest

from thespis.actors.encoder_cache.disk.folder import BLOCK, ROOM, Folder
from thespis.actors.encoder_cache.disk.item_file import Damaged
from thespis.actors.encoder_cache.disk.pin_file import Mark, decode_mark, encode_mark
from thespis.actors.encoder_cache.disk.tier import Tier
from thespis.actors.jobs.identity import part_keys, pin_name
from thespis.protocol.edges.client_to_encoder_cache import Pin, Unpin
from thespis.protocol.errors import Failure

from .kept import FOREIGN, NAME, OTHER, WIDTH, answer, data, item, keep, tier

OWNER = pin_name("mine", "file-1")
BLOCKS = 16
"""Of the folder: half of it, 8, may be pinned, and 4 by one key; a mark takes one."""


def small(folder: Path, **changes: str) -> Tier:
    return tier(folder, max_bytes=BLOCKS * BLOCK, **changes)


def ask(made: Tier, question: Pin | Unpin) -> Failure | None:
    told, heard = list[Failure | None](), threading.Event()

    def tell(failure: Failure | None) -> None:
        told.append(failure)
        heard.set()

    made.ask(question, tell)
    assert heard.wait(10)
    assert len(told) == 1
    return told[0]


def pin(
    made: Tier,
    name: str = NAME,
    owner: str = OWNER,
    tenant: str = "mine",
    expires: float | None = None,
) -> str | None:
    """The code of the refusal."""
    failure = ask(made, Pin("q", "http.0", tenant, owner, name, expires))
    return None if failure is None else failure.code


def press(made: Tier) -> None:
    """Twice as many others as the folder holds."""
    for number in range(2 * BLOCKS):
        keep(made, f"{number:064x}")
    ask(made, Unpin("q", "http.0", "00" * 32))  # they have been written now


def names(count: int) -> list[str]:
    return [f"{number:02x}" * 32 for number in range(0xA0, 0xA0 + count)]


def marks(folder: Path) -> list[Path]:
    return sorted((folder / ROOM / "pins").iterdir())


def test_what_is_pinned_stays_under_pressure_and_over_restarts(tmp_path: Path) -> None:
    first = small(tmp_path)
    keep(first, NAME, seed=3)
    keep(first, OTHER)
    assert pin(first) is None, "the item is written before the pin is looked at"
    press(first)
    assert (answer(first), answer(first, OTHER)) == (data(seed=3), None)
    first.close()
    later, beside = small(tmp_path), small(tmp_path, fingerprint=FOREIGN)
    press(beside)
    press(later)
    assert answer(later) == data(seed=3)
    assert ask(beside, Unpin("q", "http.0", OWNER)) is None, "by any engine, whatever its model"
    press(beside)
    assert answer(later) is None
    assert marks(tmp_path) == []
    later.close()
    beside.close()


def test_an_item_of_several_parts_is_pinned_whole_or_not_at_all(tmp_path: Path) -> None:
    made, parts = small(tmp_path), part_keys(NAME, 2)
    whole = item(2, NAME, parts=2)
    made.keep(NAME, NAME, memoryview(data(2)), (2, WIDTH), whole)
    assert pin(made) == "not_kept"
    made.keep(parts[1], parts[1], memoryview(data(2, 5)), (2, WIDTH), None)
    assert pin(made) is None
    press(made)
    found = made.find_item("now", NAME)
    assert found is not None
    for one in found[1]:
        one.close()
    made.close()


def test_what_is_not_there_is_not_pinned(tmp_path: Path) -> None:
    made = small(tmp_path)
    assert pin(made) == "not_kept"
    assert not (tmp_path / ROOM / "pins").exists()
    made.close()
    assert pin(made) == "pin_busy", "after the end"


def test_more_than_the_bound_is_refused_and_nothing_is_unpinned(tmp_path: Path) -> None:
    made = small(tmp_path)
    for name in (mine := names(3)):
        keep(made, name)
    # an item and its mark take a block each: a key has two of them, all have four
    assert [pin(made, name, pin_name("mine", name)) for name in mine] == [
        None, None, "too_much_pinned",
    ]  # fmt: skip
    for name in (theirs := names(6)[3:]):
        keep(made, name)
    assert pin(made, theirs[0], pin_name("a", "x"), "a") is None
    assert pin(made, theirs[1], pin_name("b", "x"), "b") is None
    assert pin(made, theirs[2], pin_name("c", "x"), "c") == "pins_full"
    press(made)
    held = [*mine[:2], *theirs[:2]]
    assert all(answer(made, name) is not None for name in held)
    assert answer(made, mine[2]) is None
    # what is unpinned makes room, and a file takes its own place
    assert pin(made, mine[0], pin_name("mine", mine[0])) is None
    ask(made, Unpin("q", "http.0", pin_name("mine", mine[1])))
    keep(made, mine[2])
    assert pin(made, mine[2], pin_name("mine", mine[2])) is None
    made.close()


def test_all_that_come_without_a_key_may_pin_half(tmp_path: Path) -> None:
    made = small(tmp_path)
    told = []
    for name in names(5):
        keep(made, name)
        told.append(pin(made, name, pin_name("", name), ""))
    assert told == [None, None, None, None, "too_much_pinned"]
    made.close()


def test_files_of_the_same_content_are_pinned_by_each(tmp_path: Path) -> None:
    made = small(tmp_path)
    keep(made)
    other = pin_name("mine", "file-2")
    assert (pin(made), pin(made, owner=other)) == (None, None)
    ask(made, Unpin("q", "http.0", OWNER))
    press(made)
    assert answer(made) is not None
    ask(made, Unpin("q", "http.0", other))
    press(made)
    assert answer(made) is None
    made.close()


def test_a_pin_ends_with_its_file(tmp_path: Path) -> None:
    made = small(tmp_path)
    keep(made)
    assert pin(made, expires=time.time() + 0.2) is None
    press(made)
    time.sleep(0.25)
    press(made)
    assert answer(made) is None
    assert marks(tmp_path) == []
    made.close()


def test_what_a_reset_removes_stays_when_it_is_made_again(tmp_path: Path) -> None:
    made = small(tmp_path)
    keep(made)
    assert pin(made) is None
    made.empty()
    ask(made, Unpin("q", "http.0", "00" * 32))
    assert answer(made) is None
    keep(made)
    press(made)
    assert answer(made) is not None
    made.close()


def test_the_bound_of_the_folder_holds_with_pins(tmp_path: Path) -> None:
    large = Folder(tmp_path, 64 * BLOCK)
    large.open()
    files = [f"{'0' * 16}-{number:064x}" for number in range(20)]
    for file in files:
        assert large.write(file, (b"x",))
    assert large.pin(f"{'0' * 16}-{OWNER}", "", files[:16], None) == "pinned"
    tight = Folder(tmp_path, 18 * BLOCK)
    tight.open()
    assert tight.write(f"{'0' * 16}-{NAME}", (b"x",)), "others make room"
    with pytest.raises(OSError, match="pinned"):
        tight.write(f"{'0' * 16}-{OTHER}", (b"x" * 2 * BLOCK,))
    assert tight.taken <= 18 * BLOCK
    assert all((tmp_path / ROOM / file).exists() for file in files[:16])
    large.close()
    tight.close()


@pytest.mark.parametrize("harm", ["flipped", "cut", "empty", "renamed", "folder", "link", "large"])
def test_a_damaged_mark_pins_nothing_and_goes(tmp_path: Path, harm: str) -> None:
    made = small(tmp_path)
    keep(made)
    assert pin(made) is None
    [mark] = marks(tmp_path)
    whole = mark.read_bytes()
    match harm:
        case "flipped":
            mark.write_bytes(whole[:-9] + b"\xff" + whole[-8:])
        case "cut":
            mark.write_bytes(whole[:-1])
        case "empty":
            mark.write_bytes(b"")
        case "renamed":
            mark.rename(mark.with_name(f"{'1' * 16}-{'0' * 64}"))
        case "folder":
            mark.unlink()
            mark.mkdir()
        case "link":
            mark.rename(tmp_path / "elsewhere")
            mark.symlink_to(tmp_path / "elsewhere")
        case _:
            mark.write_bytes(whole + b"x" * 100_000)
    press(made)
    assert answer(made) is None
    assert made.counters()["disk_dropped"] == 0
    keep(made)
    assert pin(made) == ("pin_busy" if harm == "folder" else None)
    made.close()


def test_every_flipped_byte_is_seen() -> None:
    mark = Mark("0" * 16 + "-" + OWNER, "mine", {"0" * 16 + "-" + NAME: BLOCK}, 9.0)
    whole = encode_mark(mark)
    assert decode_mark(whole, mark.name) == mark
    for place in range(len(whole)):
        with pytest.raises(Damaged):
            decode_mark(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :], mark.name)
    for files in ({"../../etc/passwd": 1}, {"0" * 16 + "-" + NAME: -1}):
        made = Mark(mark.name, "mine", files, None)
        with pytest.raises(Damaged):
            decode_mark(encode_mark(made), mark.name)


def test_what_a_dead_writer_left_of_a_mark_goes(tmp_path: Path) -> None:
    made = small(tmp_path)
    keep(made)
    assert pin(made) is None
    half = marks(tmp_path)[0].with_name(f"{'0' * 16}-{'1' * 64}.part")
    half.write_bytes(b"half")
    press(made)
    assert half not in marks(tmp_path)
    assert answer(made) is not None
    made.close()
