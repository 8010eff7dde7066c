"""Who is silent for too long, and who was only given no time to speak: a machine of which each
second is written down."""

from collections.abc import Callable

import pytest

from thespis.actors.director.leases import Holder, Lease, LeaseCourt, withheld
from thespis.actors.director.threads import Thread, Threads
from thespis.actors.kernel.link import HEART

OWN = 1
PERIOD = 0.375
PATIENCE = 3.0
Life = Callable[[float], Threads]
"""What the kernel says of a process at a time; its first thread is the 2."""


def thread(
    state: str = "S", ran: float = 0.0, waited: float = 0.0, faults: int = 0, name: str = "python"
) -> Thread:
    return Thread(name, state, ran, waited, faults)


def quiet(now: float) -> Threads:
    return {2: thread(), 3: thread(name=HEART)}


def stopped(now: float) -> Threads:
    return {2: thread("T", waited=now), 3: thread("T", waited=now, name=HEART)}


def spinning(now: float) -> Threads:
    """It holds the interpreter's lock and has a CPU of its own."""
    return {2: thread("R", ran=now), 3: thread(name=HEART)}


def stuck_on_disk(now: float) -> Threads:
    return {2: thread("D", faults=5), 3: thread(name=HEART)}


def without_heart(now: float) -> Threads:
    """It works, and has to wait for half of the time; but the thread that speaks has ended."""
    return {2: thread("R", ran=now / 2, waited=now / 2)}


def starving(now: float) -> Threads:
    return {2: thread("R", ran=now / 20, waited=now * 19 / 20), 3: thread(name=HEART)}


def starving_without_a_break(now: float) -> Threads:
    """The kernel counts a wait when it ends, and this one does not."""
    return {2: thread("R"), 3: thread(name=HEART)}


def starving_heart(now: float) -> Threads:
    return {2: thread(), 3: thread("R", waited=now, name=HEART)}


def starving_in_turns(now: float) -> Threads:
    """The thread that speaks, and the one that carries what it says."""
    return {
        2: thread(waited=now // 2 + min(1.0, now % 2)),
        3: thread(waited=now - now // 2, name=HEART),
    }


def paging(now: float) -> Threads:
    return {2: thread("D", faults=int(now * 100)), 3: thread(name=HEART)}


def throttled(now: float) -> Threads:
    """A group's quota lets it run for a tenth of the time, in pieces."""
    return {
        2: thread("R" if now % 1 > 0.1 else "S", ran=now * 0.1, waited=now * 0.9),
        3: thread("R", waited=now, name=HEART),
    }


class Machine:
    """A court over some processes, none of which speaks; each pid is the index of its life, from 2
    on."""

    def __init__(self, *lives: Life, own: Life = lambda now: {}) -> None:
        self.now = 0.0
        self._lives = {OWN: own, **dict(enumerate(lives, 2))}
        self.holders = [
            Holder(f"p{pid}.1", pid, Lease(0.0), PATIENCE, has_heart=True)
            for pid in self._lives
            if pid != OWN
        ]
        self.court = LeaseCourt(self._look, OWN, 0.0)

    def _look(self, pid: int) -> Threads:
        return {
            10 * pid + tid if tid > 2 else pid: seen
            for tid, seen in self._lives[pid](self.now).items()
        }

    def found(self, until: float, late: float = 0.0) -> dict[str, float]:
        """When who was found silent; each look comes `late`."""
        found: dict[str, float] = {}
        while self.now < until:
            self.now += PERIOD + late
            for holder in self.court.judge(self.holders, self.now, late).silent:
                found.setdefault(holder.name, self.now)
        return found


@pytest.mark.parametrize("life", [quiet, stopped, spinning, stuck_on_disk, without_heart])
def test_who_hangs_or_is_stopped_is_found_at_the_first_look_after_its_lease(life: Life) -> None:
    assert PATIENCE < Machine(life).found(60.0)["p2.1"] <= PATIENCE + PERIOD


@pytest.mark.parametrize(
    "life",
    [starving, starving_without_a_break, starving_heart, starving_in_turns, paging, throttled],
)
def test_who_is_starved_is_waited_for(life: Life) -> None:
    machine = Machine(life)
    assert machine.found(5 * PATIENCE) == {}
    machine.holders[0].lease.renew(machine.now)
    assert machine.holders[0].lease.silence(machine.now) == 0.0


def test_who_spins_without_end_on_a_full_machine_is_found_after_a_leases_worth_of_cpu() -> None:
    found = Machine(starving).found(120.0)["p2.1"]
    assert 20 * (PATIENCE - PATIENCE / 2) < found < 20 * PATIENCE


def test_who_was_starved_and_hangs_now_is_found_a_lease_later() -> None:
    machine = Machine(lambda now: starving_without_a_break(now) if now < 10.0 else quiet(now))
    assert 10.0 < machine.found(60.0)["p2.1"] < 10.0 + PATIENCE + PERIOD


def test_who_is_stopped_while_it_starves_is_found_a_lease_later() -> None:
    machine = Machine(lambda now: starving(now) if now < 10.0 else stopped(now))
    assert 10.0 < machine.found(60.0)["p2.1"] < 10.0 + PATIENCE + PERIOD


def test_what_the_director_was_late_by_is_nobodys_silence() -> None:
    assert (
        6 * PATIENCE
        < Machine(quiet).found(60.0, late=5 * PERIOD)["p2.1"]
        <= 6 * (PATIENCE + PERIOD)
    )


def test_while_the_director_itself_waits_for_a_cpu_it_hears_nobody() -> None:
    own = lambda now: {OWN: thread("S", waited=now * 0.9)}  # noqa: E731
    assert Machine(quiet, own=own).found(10.0) == {}
    assert Machine(quiet, own=own).found(60.0)


def test_most_in_silence_at_once_get_another_lease_and_no_third() -> None:
    found = Machine(quiet, quiet, quiet, quiet).found(60.0)
    assert set(found) == {"p2.1", "p3.1", "p4.1", "p5.1"}
    assert all(2 * PATIENCE < when <= 2 * PATIENCE + 2 * PERIOD for when in found.values())


def test_two_that_are_stopped_at_once_are_no_crowd() -> None:
    assert all(when <= PATIENCE + PERIOD for when in Machine(stopped, stopped).found(60.0).values())


def test_a_crowd_that_was_stopped_is_none() -> None:
    found = Machine(stopped, stopped, stopped, stopped).found(60.0)
    assert len(found) == 4
    assert all(when <= PATIENCE + PERIOD for when in found.values())


def test_who_is_heard_owes_nothing_more() -> None:
    machine = Machine(quiet)
    lease = machine.holders[0].lease
    assert machine.found(PATIENCE - PERIOD) == {}
    lease.renew(machine.now)
    assert machine.found(2 * PATIENCE - 2 * PERIOD) == {}
    assert machine.found(60.0)


def test_the_kernel_is_asked_about_suspects_only() -> None:
    asked: list[int] = []

    def look(pid: int) -> Threads:
        asked.append(pid)
        return quiet(0.0)

    holder = Holder("p2.1", 2, Lease(0.0), PATIENCE)
    court = LeaseCourt(look, OWN, 0.0)
    assert court.judge([holder], 0.9, 0.0).calm
    assert not asked
    assert not court.judge([holder], 1.1, 0.0).calm
    assert set(asked) == {OWN, 2}


def test_a_wait_is_never_longer_than_the_time_that_has_passed() -> None:
    assert withheld({2: thread("R")}, {2: thread("R", waited=9.0)}, 0.5) == 0.5
    assert withheld({}, {2: thread("R", waited=9.0)}, 0.5) == 0.5
    assert withheld({2: thread("R", ran=1.0)}, {}, 0.5) == 0.0


def test_who_dies_slowly_is_condemned_once() -> None:
    """The kernel holds some processes in a frozen group, or in a read, for as long as that
    lasts."""
    machine = Machine(stopped, quiet)
    condemned: list[str] = []
    while machine.now < 10 * PATIENCE:
        machine.now += PERIOD
        condemned += [
            holder.name for holder in machine.court.judge(machine.holders, machine.now, 0.0).silent
        ]
    assert sorted(condemned) == ["p2.1", "p3.1"]


@pytest.mark.parametrize(
    ("life", "late", "told"), [(stopped, 0.03, False), (quiet, 0.03, False), (starving, 0.0, True)]
)
def test_who_hangs_is_not_called_starved_before_it_is_found(
    life: Life, late: float, told: bool
) -> None:
    machine = Machine(life)
    starved: list[Holder] = []
    while machine.now < 2 * PATIENCE:
        machine.now += PERIOD + late
        starved += machine.court.judge(machine.holders, machine.now, late).starved
    assert bool(starved) is told
