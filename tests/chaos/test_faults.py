"""The drawing of faults: from the seed alone, every role in every round, and never beyond the
restart budget."""

import random
from collections import Counter
from typing import get_args

from thespis.actors.director.supervisor import RESTARTS, WINDOW
from thespis.scripts.stress.chaos.campaign import beside
from thespis.scripts.stress.chaos.faults import (
    HARMLESS,
    HUNGRY,
    ROLES,
    Fault,
    Kind,
    Pace,
    draw_round,
    short_round,
)


def test_the_seed_decides() -> None:
    assert draw_round(random.Random(3), True) == draw_round(random.Random(3), True)
    assert draw_round(random.Random(3), True) != draw_round(random.Random(4), True)


def test_every_round_kills_every_role_alone_and_has_each_kind() -> None:
    for seed in range(20):
        faults = draw_round(random.Random(seed), http=True)
        assert Counter(f.roles[0] for f in faults if f.kind == "kill") == Counter(
            (*ROLES, "http", "http")
        )
        assert {f.kind for f in faults} == set(get_args(Kind))
        assert all("http" not in f.roles for f in draw_round(random.Random(seed), http=False))


def test_encode_workers_are_struck_where_there_are_any() -> None:
    more = beside("encoders")
    assert (more, beside("plain")) == (("encode-worker-1",), ())
    faults = draw_round(random.Random(1), http=True, more=more)
    assert Fault("kill", more) in faults
    assert all(not set(more) & set(f.roles) for f in draw_round(random.Random(1), http=True))


def test_the_short_round_strikes_every_role_and_has_each_kind() -> None:
    faults = short_round(random.Random(0), http=True)
    assert {role for f in faults for role in f.roles} == set(ROLES)
    assert {f.kind for f in faults} == set(get_args(Kind))
    assert {role for f in short_round(random.Random(0), http=False) for role in f.roles} == {
        "gpu-runner",
        "scheduler",
    }


def test_who_was_struck_least_is_struck_next() -> None:
    draw, killed = random.Random(1), Counter[str]()
    for _ in range(14):
        killed.update(role for fault in draw_round(draw, True, killed) for role in fault.roles)
    assert min(killed[role] for role in ROLES) >= 17


def test_the_pace_stays_within_the_restart_budget() -> None:
    draw, pace, now = random.Random(5), Pace(), 0.0
    killed: dict[str, list[float]] = {}
    for _ in range(30):
        for fault in draw_round(draw, True):
            now += pace.wait(fault, now) + 0.1
            pace.note(fault, now)
            for role in fault.roles:
                killed.setdefault(role, []).append(now)
    for times in killed.values():
        assert (
            max(sum(1 for other in times if time - WINDOW < other <= time) for time in times)
            < RESTARTS
        )


def test_a_chain_may_meet_the_successor_of_its_own_first() -> None:
    pace = Pace()
    twice = Fault("chain", ("scheduler", "scheduler"))
    pace.note(twice, 0.0)
    assert pace.wait(twice, 1.0) == 0.0
    pace.note(twice, 1.0)
    assert pace.wait(twice, 2.0) == 58.0
    assert pace.wait(Fault("kill", ("detokenizer",)), 2.0) == 0.0


def test_who_is_concerned_and_who_dies() -> None:
    draw, met = random.Random(7), set[tuple[str, str]]()
    for _ in range(40):
        for fault in draw_round(draw, http=True):
            assert fault.harmless == (fault.kind in HARMLESS) == (not fault.roles)
            assert bool(fault.at) == (fault.kind in ("signal", "files"))
            assert fault.kind != "memory" or fault.roles[0] in HUNGRY
            met.add((fault.kind, fault.signal))
            assert "director" not in (*fault.roles, *fault.at)
    assert met >= {("signal", "SIGTERM"), ("signal", "SIGHUP")}
    assert all("http" not in fault.at for fault in draw_round(draw, http=False))


def test_a_fault_says_what_it_is() -> None:
    assert (
        str(Fault("signal", (), at=("http", "fetcher"), signal="SIGHUP")) == "SIGHUP http fetcher"
    )
    assert str(Fault("janitor", ("scheduler",), 0.25)) == "janitor scheduler +250 ms"
    assert str(Fault("starve", ())) == "starve"


def test_what_nobody_dies_of_costs_no_restart() -> None:
    pace = Pace()
    for _ in range(20):
        for kind in HARMLESS:
            pace.note(Fault(kind, (), at=("http",)), 0.0)
    assert pace.wait(Fault("pair", ("http", "fetcher")), 0.1) == 0.0
