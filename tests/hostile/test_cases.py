"""The hostile cases themselves: drawn alike from the same seed, of every kind, and judged as they
should be."""

import asyncio
import gc
import json
import math
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from thespis.scripts.stress.hostile.calm import Calm, Gap
from thespis.scripts.stress.hostile.campaign import Options, _shoot, describe, uncollected
from thespis.scripts.stress.hostile.draw import KINDS, draw, kind_of
from thespis.scripts.stress.hostile.files import NAMES, real
from thespis.scripts.stress.hostile.judge import Outcome, error_of, judge
from thespis.scripts.stress.hostile.processes import Change, Processes
from thespis.scripts.stress.hostile.report import LARGE, Report
from thespis.scripts.stress.hostile.shares import Account, Shares, account_of, told
from thespis.scripts.stress.hostile.shooter import NICE
from thespis.scripts.stress.hostile.shooters import shooters
from thespis.scripts.stress.hostile.shot import CHAT, Shot, post, request
from thespis.scripts.stress.hostile.structures import MAKERS, value
from thespis.scripts.stress.hostile.wire import Exchange, answers_in

SEED, BIGGEST = 3, 50_000
CAP_SYS_NICE = 23
ERROR = {
    "error": {
        "message": "No.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_request",
    }
}


def test_a_case_is_its_seed_and_its_number() -> None:
    for number in range(60):
        kind, shot = draw(SEED, number, BIGGEST)
        again = draw(SEED, number, BIGGEST)[1]
        assert kind == kind_of(SEED, number)
        assert list(shot.pieces) == list(again.pieces), shot.what
    assert draw(SEED, 1, BIGGEST)[1] != draw(SEED + 1, 1, BIGGEST)[1]


def test_all_kinds_come_and_bodies_are_of_all_sizes() -> None:
    kinds = Counter(kind_of(SEED, number) for number in range(500))
    assert kinds.keys() == KINDS.keys()
    assert min(kinds.values()) >= 20
    sizes = [
        draw(SEED, number, 1 << 20)[1].size
        for number in range(120)
        if kind_of(SEED, number) == "body"
    ]
    assert min(sizes) < 3000
    assert max(sizes) > 100_000


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_structure_is_about_as_large_as_asked(make: object) -> None:
    import random

    for seed in range(20):
        data = make(random.Random(seed), 20_000)  # type: ignore[operator]
        assert len(data) < 45_000
    assert value(random.Random(1), 0)[1]


@pytest.mark.parametrize("name", NAMES)
def test_every_real_file_is_there(name: str) -> None:
    assert len(real(name)) > 100


def exchange(data: bytes, seconds: float = 0.1) -> Exchange:
    return Exchange(0.0, 0.0, seconds, bytearray(data))


def answer(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def faults(data: bytes, shot: Shot | None = None, seconds: float = 0.1) -> list[str]:
    return judge(1, "body", shot or post("x", CHAT, {"a": "b"}), exchange(data, seconds)).faults


def test_a_refusal_and_a_good_answer_are_as_they_should_be() -> None:
    assert faults(answer(400, json.dumps(ERROR).encode())) == []
    assert faults(answer(200, b'{"choices": []}')) == []
    assert faults(answer(503, json.dumps(ERROR).encode(), "Retry-After: 2")) == []
    assert faults(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(422, json.dumps(ERROR).encode())) == []


ANTHROPICS = {
    "type": "error",
    "error": {"type": "invalid_request_error", "message": "No."},
    "request_id": "req_1",
}
OF_OTHERS = [("/v1/messages", ANTHROPICS), ("/api/chat", {"error": "No."})]


@pytest.mark.parametrize(("path", "refusal"), OF_OTHERS)
def test_every_api_is_refused_in_its_own_form(path: str, refusal: dict[str, Any]) -> None:
    shot = post("x", path, {"a": "b"})
    assert faults(answer(400, json.dumps(refusal).encode()), shot) == []
    assert faults(answer(400, json.dumps(ERROR).encode()), shot) != []
    early = {"error": {**ERROR["error"], "code": "invalid_http"}}
    assert faults(answer(400, json.dumps(early).encode()), shot) == []
    assert faults(answer(400, json.dumps(refusal).encode())) != []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no answer"),
        (b"SSH-2.0-x\r\n\r\n", "the answer is not HTTP"),
        (answer(500, json.dumps(ERROR).encode()), "status 500"),
        (answer(429, json.dumps(ERROR).encode()), "without Retry-After"),
        (answer(400, b"400: Bad Request"), "without an error object"),
        (answer(400, b'{"error": "no"}'), "without an error object"),
        (
            answer(
                400,
                json.dumps({"error": {**ERROR["error"], "message": "at /usr/lib/x.py"}}).encode(),
            ),
            "tells",
        ),
        (answer(200, b"<function f at 0x7f>"), "tells"),
        (answer(400, json.dumps(ERROR).encode())[:-5], "is cut"),
        (
            answer(
                200,
                b'data: {"error": {"message": "m", "type": "t", "param": null, "code": '
                b'"internal_error"}}\n\n',
            ),
            "event",
        ),
    ],
)
def test_what_must_not_be_answered_is_seen(data: bytes, words: str) -> None:
    assert any(words in fault for fault in faults(data)), faults(data)


def test_what_the_caller_said_may_be_said_again() -> None:
    shot = Shot(what="x", pieces=request("/tokenize", b'{"prompt": "/usr/lib/x.py"}'))
    assert faults(answer(200, b'{"prompt": "/usr/lib/x.py"}'), shot) == []


def test_a_case_may_take_what_it_says() -> None:
    long = post("400 pages", CHAT, {"a": "b"}, seconds=50.0)
    assert not any("took" in fault for fault in faults(answer(200, b"{}"), long, seconds=49.0))
    assert any("took 51" in fault for fault in faults(answer(200, b"{}"), long, seconds=51.0))


def test_slowness_and_silence_are_seen() -> None:
    assert any("took 11" in fault for fault in faults(answer(200, b"{}"), seconds=11.0))
    silent = judge(
        1, "body", post("x", CHAT, {}), Exchange(0.0, 0.0, 45.0, bytearray(), timed_out=True)
    )
    assert "no end of the answer" in silent.faults
    assert judge(1, "body", post("x", CHAT, {}), Exchange(0.0, refused=True)).faults == [
        "nobody listens"
    ]


def test_pipelined_answers_are_told_apart() -> None:
    data = (
        answer(200, b"{}")
        + b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n"
        + answer(404, b"7")
    )
    assert [(a.status, a.body) for a in answers_in(data, ("GET",) * 5)] == [
        (200, b"{}"),
        (200, b"[]"),
        (404, b"7"),
    ]
    assert answers_in(data[:20], ("GET",)) == []


def test_an_error_object_is_openais() -> None:
    assert error_of(json.dumps(ERROR).encode()) == ERROR["error"]
    for body in (
        b"",
        b"[]",
        b"{}",
        b'{"error": {"message": ""}}',
        b'{"error": {"message": "a", "type": "b", "code": "c"}}',
    ):
        assert error_of(body) is None


def outcome(number: int = 1, **more: object) -> Outcome:
    plain = {
        "kind": "body",
        "what": "x",
        "size": 10,
        "began": 1.0,
        "ended": 2.0,
        "seconds": 0.1,
        "statuses": [400],
    }
    return Outcome(number=number, **{**plain, **more})  # type: ignore[arg-type]


def report(**more: Any) -> Report:
    return Report(
        seed=5,
        biggest=1 << 20,
        undisturbed=0.02,
        outcomes=[outcome()],
        gaps=[Gap(1.0, 1.1)],
        **more,
    )


def test_a_campaign_that_kept_its_bounds_is_good() -> None:
    kept = report()
    assert kept.good
    assert "5xx: 0" in kept.table()
    assert kept.as_dict()["longest_gap_ms"] == 100.0
    assert not Report(seed=5, biggest=1).good, "nothing was tried"


def test_every_missed_bound_is_told_with_its_replay() -> None:
    missed = report(changes=[Change(3.0, "thespis http")], wrongs=2, wrong=["text 1"], pickled=True)
    missed.outcomes = [outcome(7, faults=["status 500"], statuses=[500], ended=3.0)]
    missed.gaps = [Gap(1.0, 1.2)]
    text = "\n".join(missed.failures)
    for words in (
        "status 500",
        "'thespis http' ended",
        "waited 200 ms without",
        "2 calm answers",
        "a pickle was loaded",
    ):
        assert words in text
    assert text.count("scripts/dev hostile --seed 5 --max-body-mb 1 --only 7") == 3
    assert not missed.good


def test_streams_may_wait_longer_beside_a_large_body() -> None:
    large = report()
    large.outcomes, large.gaps = [outcome(size=LARGE + 1)], [Gap(1.0, 1.2)]
    assert large.good
    large.gaps = [Gap(1.0, 1.4)]
    assert any("beside a large body, of 270" in text for text in large.failures)


def test_what_a_stream_waits_after_the_last_case_is_no_gap() -> None:
    calm, kept = Calm("http://127.0.0.1:1", gaps=[Gap(1.0, 1.02)]), report()
    kept.take(calm, Processes(director=0))
    calm.gaps.append(Gap(2.0, 2.5))
    assert kept.longest_few == [Gap(1.0, 1.02)]


def test_too_many_refusals_for_want_of_room_try_nothing() -> None:
    full = report()
    full.outcomes = [outcome(number, statuses=[503]) for number in range(20)]
    assert any("refused for want of room" in text for text in full.failures)


def test_only_and_kinds_choose_cases() -> None:
    plain = {"seed": SEED, "biggest": BIGGEST, "seconds": 1.0}
    assert list(Options(**plain, cases=3).numbers()) == [0, 1, 2]  # type: ignore[arg-type]
    assert list(Options(**plain, only=(9, 4)).numbers()) == [9, 4]  # type: ignore[arg-type]
    chosen = list(Options(**plain, cases=5, kinds=frozenset({"guide"})).numbers())  # type: ignore[arg-type]
    assert {kind_of(SEED, number) for number in chosen} == {"guide"}
    assert "case 9 (" in describe(Options(**plain, only=(9,)))[0]  # type: ignore[arg-type]


async def test_calm_callers_see_another_answer_and_a_lost_server(unused_tcp_port: int) -> None:
    calm = Calm(f"http://127.0.0.1:{unused_tcp_port}")
    import aiohttp

    async with aiohttp.ClientSession(calm.url) as calm._http, asyncio.timeout(5):
        await calm._put("text 0", {}, [])
    assert calm.wrongs == 1
    assert "ClientConnectorError" in calm.wrong[0]


async def test_the_kernels_account_tells_who_ran_while_a_stream_waited() -> None:
    shares = Shares(director=0)
    began = time.monotonic()
    async with shares:
        await asyncio.sleep(0.05)
        burning = time.process_time()
        while time.process_time() - burning < 0.1:
            pass
        await asyncio.sleep(0.05)
    found = shares.during(Gap(began, time.monotonic()))
    assert found["caller"].ran >= 0.1
    assert "caller ran" in told(found)


def test_a_gap_has_no_share_of_what_was_before_and_after_it() -> None:
    accounts = [
        {("thespis http", 7): Account(ran / 10, queued / 10)}
        for ran, queued in ((0, 0), (5, 0), (5, 2), (5, 2), (9, 9))
    ]
    shares = Shares(director=0, _times=[0.0, 1.0, 2.0, 3.0, 4.0], _accounts=accounts)
    assert shares.during(Gap(1.0, 2.0)) == {"http": Account(0.0, 0.2)}
    assert shares.during(Gap(1.2, 1.8)) == {"http": Account(0.0, 0.2)}
    assert shares.during(Gap(2.0, 3.0)) == {}
    assert Shares(director=0).during(Gap(0.0, 1.0)) == {}


def test_processes_of_one_title_are_told_together_and_one_that_came_or_went_not_at_all() -> None:
    before = {
        ("shooters", 1): Account(1.0, 0.0),
        ("shooters", 2): Account(2.0, 1.0),
        ("thespis fetcher", 3): Account(0.0, 9.0),
    }
    after = {
        ("shooters", 1): Account(1.5, 0.0),
        ("shooters", 2): Account(2.25, 1.5),
        ("thespis fetcher", 4): Account(7.0, 9.0),
    }
    shares = Shares(director=0, _times=[0.0, 1.0], _accounts=[before, after])
    assert shares.during(Gap(0.0, 1.0)) == {"shooters": Account(0.75, 0.5)}


def test_a_process_that_has_gone_has_no_account() -> None:
    assert account_of(1 << 30) is None


def test_the_longest_gaps_are_told_with_what_was_beside_them() -> None:
    waited = report(began=0.5)
    waited.outcomes = [outcome(3, began=1.0, ended=1.5), outcome(4, began=9.0, ended=9.5)]
    waited.gaps = [Gap(1.0, 1.4, 7), Gap(1.1, 1.4), Gap(5.0, 5.3)]
    assert waited.longest_few == [Gap(1.0, 1.4, 7), Gap(5.0, 5.3)]
    text = waited.waits()
    assert "400 ms at 0.5 s, after 7 tokens, beside 1 gaps of the others" in text
    assert "case 3" in text
    assert "case 4" not in text


def test_who_puts_cases_is_idle_work_of_a_session_of_its_own() -> None:
    code = (
        "import os; from thespis.scripts.stress.hostile.shooter import step_back; before = "
        "os.getsid(0); step_back();"
        "print(os.nice(0), os.getsid(0) != before, os.sched_getscheduler(0) == os.SCHED_IDLE)"
    )
    said = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(said[0]) == min(19, os.nice(0) + NICE)
    assert said[1] == "True"
    assert said[2] == str(os.access("/proc/self/autogroup", os.W_OK)), (
        "else it would get no time at all"
    )


def test_who_reads_the_calm_streams_waits_for_no_processor_while_it_reads() -> None:
    code = (
        "import os; from thespis.scripts.stress.hostile.campaign import preferred\n"
        "with preferred(): within, child = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, "
        "os.popen('chrt -p $$').read()\n"
        "print(within == os.SCHED_RR, 'SCHED_OTHER' in child, os.sched_getscheduler(0) == "
        "os.SCHED_OTHER)"
    )
    said = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    effective = re.search(r"CapEff:\s+(\w+)", Path("/proc/self/status").read_text())
    assert effective is not None
    assert said[0] == str(bool(int(effective[1], 16) >> CAP_SYS_NICE & 1)), "others are not let"
    assert said[1:] == ["True", "True"]


def test_while_it_reads_it_collects_no_garbage() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()


async def test_a_shooter_that_hangs_ends_its_own_case_alone() -> None:
    class Hanging:
        async def put(self, number: int) -> Outcome:
            if number == 1:
                raise TimeoutError
            return outcome(number)

    kept = report()
    options = Options(seed=SEED, biggest=BIGGEST, seconds=1.0)
    for numbers in ((0, 1, 2), (3, 4)):
        await _shoot(Hanging(), iter(numbers), math.inf, options, kept, print)  # type: ignore[arg-type]
    assert [o.number for o in kept.outcomes[1:]] == [0, 1, 3, 4]
    assert [o.number for o in kept.outcomes if o.faults] == [1]


async def test_shooters_are_ready_before_they_are_given_cases_and_put_none_that_is_only_drawn() -> (
    None
):
    """Nobody listens on the port."""
    async with shooters(1, SEED, 2000, port=1) as (one,):
        await one.draw(0)
        assert (await one.put(0)).faults == ["nobody listens"]
