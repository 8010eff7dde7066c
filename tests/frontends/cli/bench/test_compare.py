"""`bench compare`: turns, ratios, commands that are up only for their turn, and what is refused."""

import argparse
import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from thespis.frontends.cli.bench import compare
from thespis.frontends.cli.bench.compare import Turn
from thespis.frontends.cli.bench.report import Cell
from thespis.frontends.cli.main import build_parser, main
from thespis.protocol.errors import EngineError

from ...openai.fake import FakeClient, served

QUICK = (
    "--work",
    "text,ttft",
    "--streams",
    "1,2",
    "--requests",
    "2",
    "--max-tokens",
    "4",
    "--rounds",
    "2",
    "--size",
    "28",
)
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"data": [{"id": "m"}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def given(*words: str) -> argparse.Namespace:
    return build_parser("bench").parse_args(["bench", "compare", *words])


def turn(*cells: Cell) -> Turn:
    return Turn(cells, 0.5)


async def test_both_do_the_same_work_and_the_slower_is_named_by_the_ratio() -> None:
    quick, slow = FakeClient(), FakeClient()
    slow.pace = 0.02
    async with served(quick) as first, served(slow) as second:
        asked = given("--base-url", first, "--base-url", second, *QUICK)
        turns = await compare.measure(asked, compare.sides_of(asked))
    assert len(quick.submitted) == len(slow.submitted) > 10
    assert {len(media) for _, media, *_ in quick.submitted} == {0, 1}
    found = compare.rows(turns)
    assert {row.name for row in found} >= {
        "text, 1 stream",
        "text, 2 streams",
        "TTFT, new picture",
        "TTFT, text",
    }
    assert all(row.ratio > 1 for row in found if row.unit == "tokens/s")
    assert all(len(row.ratios) == 2 for row in found)


def prompts_of(client: FakeClient) -> list[object]:
    return [prompt.token_ids for prompt, *_ in client.submitted]  # type: ignore[union-attr]


async def test_each_round_has_prompts_of_its_own_and_both_sides_get_the_same() -> None:
    first, second = FakeClient(), FakeClient()
    async with served(first) as one, served(second) as other:
        asked = given("--base-url", one, "--base-url", other, *QUICK[2:], "--work", "text")
        await compare.measure(asked, compare.sides_of(asked))
    assert sorted(map(str, prompts_of(first))) == sorted(map(str, prompts_of(second)))
    assert len(set(prompts_of(first))) == len(first.submitted)


async def test_a_server_beside_itself_gets_nothing_twice() -> None:
    client = FakeClient()
    async with served(client) as url:
        asked = given("--base-url", url, "--base-url", url, *QUICK[2:], "--work", "picture,ttft")
        sides = compare.sides_of(asked)
        await compare.measure(asked, sides)
    assert [side.name for side in sides] == ["first", "second"]
    pictures = [
        item.source.blob.offset  # type: ignore[union-attr]
        for _, media, *_ in client.submitted
        for item in media
        if item.source is not None
    ]
    # of the ttft kinds, one picture is sent again on purpose, and once more with its id
    assert len({client.blobs[offset] for offset in pictures}) == len(pictures) - 2 * 2 * 3


def test_ratios_say_how_many_times_the_first_is_better() -> None:
    fast, late = Cell("text", 100.0, "tokens/s"), Cell("TTFT", 10.0, "ms")
    mine = [turn(fast, late), turn(fast._replace(value=300.0), late)]
    theirs = [turn(fast._replace(value=50.0), late._replace(value=5.0))] * 2
    rows = compare.rows((mine, theirs))
    assert [(row.name, row.first, row.second, row.ratio) for row in rows] == [
        ("text", 200.0, 50.0, 4.0),
        ("TTFT", 10.0, 5.0, 0.5),
    ]
    sides = compare.sides_of(
        given("--base-url", "a", "--base-url", "b", "--name", "ours", "--name", "theirs")
    )
    assert "times better" in compare.comparison(sides, rows)
    report = json.loads(json.dumps(compare.report(sides, (mine, theirs), rows)))
    assert report["sides"] == ["ours", "theirs"]
    assert report["rows"][0]["ratios"] == [2.0, 6.0]
    assert report["machine"]["cores"] >= 1


def test_a_figure_that_is_missing_has_no_ratio() -> None:
    assert compare.times_better(Cell("gap", 0.0, "ms"), 0.0, 3.0) == 0.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--base-url", "a"], "--base-url twice, got 1"),
        (["--base-url", "a", "--base-url", "b", "--name", "x"], "--name is given for both"),
        (["--base-url", "a", "--base-url", "b", "--work", "text, dance"], "got 'dance'"),
        (["--base-url", "a", "--base-url", "b", "--name", "x", "--name", "x"], "different names"),
    ],
)
def test_what_is_given_wrongly_is_said(words: Sequence[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        compare.sides_of(given(*words))


def test_from_the_command_line_it_is_bench_that_is_called(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A flag's name must not hide which command was given."""
    words = [
        "bench",
        "compare",
        "--base-url",
        "http://127.0.0.1:1",
        "--base-url",
        "http://127.0.0.1:1",
    ]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--command", "/no/such/program", "--command", "/no/such/program"])
    assert ended.value.code == 1
    assert "thespis bench: The command of first cannot be started" in capsys.readouterr().err


async def test_a_command_is_not_taken_for_the_one_who_answers_already() -> None:
    async with served(FakeClient()) as url:
        with pytest.raises(EngineError, match="already: end it"):
            async with compare._up(compare.Side("x", url, None, "true"), None):
                raise AssertionError("it is another's")


async def test_a_command_is_up_for_its_turn_alone(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/v1"
    command = shlex.join([sys.executable, "-c", SERVER, str(unused_tcp_port)])
    async with compare._up(compare.Side("x", url, None, command), None):
        _, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", unused_tcp_port)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (f"{sys.executable} -c 'raise SystemExit(7)'", "ended with 7"),
        ("/no/such/program", "cannot be started"),
    ],
)
async def test_a_command_that_ends_is_said(command: str, said: str, unused_tcp_port: int) -> None:
    side = compare.Side("x", f"http://127.0.0.1:{unused_tcp_port}/v1", None, command)
    with pytest.raises(EngineError, match=said):
        async with compare._up(side, None):
            raise AssertionError("it never answered")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_server_ends_with_who_has_started_it(
    number: signal.Signals, tmp_path: Path, unused_tcp_port: int
) -> None:
    told = tmp_path / "pid"
    os.mkfifo(told)
    command = f"sh -c 'echo $$ >{told}; exec sleep 60'"
    sides = [
        word
        for _ in range(2)
        for word in ("--base-url", f"http://127.0.0.1:{unused_tcp_port}/v1", "--command", command)
    ]
    program = [sys.executable, "-P", "-m", "thespis", "bench", "compare", *sides]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        pid = int(told.read_text())
        process.send_signal(number)
        process.wait(30)
    assert process.returncode == (130 if number == signal.SIGINT else compare.ENDED)
    with suppress(ProcessLookupError):
        for _ in range(500):  # whoever has got the orphan may take a while to bury it
            os.kill(pid, 0)
            time.sleep(0.01)
        pytest.fail("it is still there")
