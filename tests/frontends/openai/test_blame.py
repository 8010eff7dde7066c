"""What a server's successor makes of the body that was in hand: tables, without a process."""

import mmap
from pathlib import Path

import pytest

from thespis.actors.quarantine.records import KEPT_SECONDS
from thespis.frontends.openai.blame import Blame, Record, open_blame
from thespis.protocol.errors import RequestError

ONE, TWO = "11" * 16, "22" * 16
TENANT, OTHER = "ab" * 16, "cd" * 16


class Life:
    """Incarnations that follow one another in a run directory."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir, self.epoch, self.now = run_dir, 0, 100.0
        self.excused: list[tuple[int, ...]] = []
        self.blame = self.born()

    def born(self, outside: bool = True) -> Blame:
        self.epoch += 1
        self.blame = open_blame(self.run_dir, self.epoch, outside, self.now, self.excused.append)
        return self.blame

    def dies_of(self, body: str, tenant: str = TENANT, outside: bool = False) -> None:
        with self.blame.in_hand(body, tenant):
            self.born(outside)  # while the predecessor still has it in hand

    def refuses(self, body: str) -> bool:
        try:
            self.blame.refuse(body, self.now)
        except RequestError as error:
            return (error.status, error.failure.code) == (422, "poison")
        return False


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


def test_one_death_makes_its_tenant_suspect_and_refuses_nothing(life: Life) -> None:
    life.dies_of(ONE)
    assert life.blame.suspects(TENANT, life.now)
    assert not life.blame.suspects(OTHER, life.now)
    assert not life.refuses(ONE)
    assert life.excused == []


def test_two_deaths_of_the_same_body_are_proof_and_are_excused(life: Life) -> None:
    life.dies_of(ONE)
    life.dies_of(TWO)
    assert not life.refuses(ONE)
    life.dies_of(ONE)
    assert life.refuses(ONE)
    assert not life.refuses(TWO)
    assert life.excused == [(1, 3)]
    life.born()
    assert life.refuses(ONE)  # the next one knows it too


def test_a_kill_from_outside_is_no_evidence(life: Life) -> None:
    for _ in range(4):
        life.dies_of(ONE, outside=True)
    assert not life.refuses(ONE)
    assert not life.blame.suspects(TENANT, life.now)


def test_a_death_with_nothing_in_hand_is_nobodys(life: Life) -> None:
    with life.blame.in_hand(ONE, TENANT):
        pass
    life.born(outside=False)
    assert not life.blame.suspects(TENANT, life.now)


def test_a_body_that_ends_its_readers_explains_the_servers_death(life: Life) -> None:
    life.dies_of(ONE)
    life.blame.convict(ONE, life.now)
    assert life.refuses(ONE)
    assert life.excused == [(1,)]


def test_all_is_forgotten_in_time(life: Life) -> None:
    life.dies_of(ONE)
    life.dies_of(ONE)
    life.now += KEPT_SECONDS - 1
    assert life.refuses(ONE)
    assert life.blame.suspects(TENANT, life.now)
    life.now += 2
    assert not life.refuses(ONE)
    assert not life.blame.suspects(TENANT, life.now)
    life.born()
    assert not life.refuses(ONE)


def test_a_record_that_cannot_be_read_is_none(life: Life) -> None:
    life.dies_of(ONE)
    (life.run_dir / "http.blame").write_bytes(b"\xff")
    life.born()
    assert not life.blame.suspects(TENANT, life.now)


def test_the_record_is_bounded() -> None:
    kept: list[Record] = []
    hand = mmap.mmap(-1, 4096)
    record = Record()
    for epoch in range(1, 200):
        with Blame(hand, epoch, False, record, 1.0, keep=kept.append).in_hand(
            f"{epoch:032x}", TENANT
        ):
            Blame(hand, epoch + 1, False, record, 1.0, keep=kept.append)
    assert len(kept[-1].deaths) <= 65
