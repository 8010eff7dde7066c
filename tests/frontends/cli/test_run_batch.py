"""`thespis run-batch` as a person calls it: a file in, a file out, and nothing twice."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from thespis.frontends.openai.app import BATCHED
from thespis.frontends.openai.batches.source import checked_source, open_answers, read_source
from thespis.protocol.errors import EngineError

from ...helpers.commands import command


def line(custom_id: str, **more: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    plain = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return {**plain, **more}


def written(path: Path, *lines: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return str(path)


@pytest.mark.process
def test_a_file_of_requests_becomes_one_of_answers_and_none_is_asked_twice(tmp_path: Path) -> None:
    wrong = line("wrong", body={"messages": []})
    source = written(tmp_path / "in.jsonl", line("one"), line("two"), wrong)
    target = tmp_path / "out.jsonl"
    first = b'{"id":"batch_req_1","custom_id":"one"}\n'
    target.write_bytes(first + b'{"id":"batch_req_2","custom_id":"tw')  # of a run that was killed
    run = command("run-batch", "-i", source, "-o", str(target), torchless=True)
    ended = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert "3 requests, 1 not answered" in ended.stdout
    rows = {row["custom_id"]: row for row in map(json.loads, target.read_text().splitlines())}
    assert rows["one"] == json.loads(first)
    assert rows["two"]["response"]["status_code"] == 200
    assert rows["two"]["response"]["body"]["usage"]["completion_tokens"] == 4
    assert rows["wrong"]["response"]["body"]["error"]["code"] == "empty_messages"
    assert len(rows) == len(target.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "has no requests"),
        ([line("a"), line("a")], "line 2: this `custom_id` comes twice"),
        ([line("a"), line("b", url="/v1/files")], "line 2: `url` is one of"),
        ([line("a", method="GET")], "line 1: method: The only method is POST."),
        ([{"custom_id": "a"}], "line 1: A line is an object"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_before_an_engine_starts(
    tmp_path: Path, lines: list[dict[str, Any]], words: str
) -> None:
    source = written(tmp_path / "in.jsonl", *lines)
    with pytest.raises(EngineError) as error:
        list(checked_source(source, BATCHED))
    assert words in str(error.value)
    with pytest.raises(EngineError, match="cannot be read"):
        list(checked_source(str(tmp_path / "nothing"), BATCHED))


def test_nothing_is_written_into_what_is_no_file_of_answers(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    open_answers(target).close()
    for fine in (b"", b'{"id":', b'{"id":"batch_req_1","custom_id":"one"}\n'):
        target.write_bytes(fine)
        open_answers(target).close()
    for other in (b"a letter", b'{"custom_id":"one","url":"/v1/completions"}\n'):
        target.write_bytes(other)
        with pytest.raises(EngineError, match="has no answers of a run before"):
            open_answers(target)
        assert target.read_bytes() == other


def test_two_runs_do_not_write_into_one_file(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    first = open_answers(target)
    with pytest.raises(EngineError, match="Another run writes into"):
        open_answers(target)
    first.close()
    open_answers(target).close()


def test_a_line_is_found_again_where_it_begins(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    rows = [json.dumps(line(id)).encode() for id in ("one", "two", "drei")]
    source.write_bytes(rows[0] + b"\r\n\n   \n" + rows[1] + b"\n" + rows[2])
    whole = source.read_bytes()
    for found, row in zip(read_source(str(source)), rows, strict=True):
        assert whole[found.start : found.start + len(row)] == row
