"""The file is JSON after every call, in the form of Chrome's trace events."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from thespis.frontends.openai.traces.chrome import ChromeFile, begin
from thespis.protocol.errors import EngineError

from .calls import CALL, call


def read(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_bytes())
    return found


def test_every_stage_and_item_is_an_event_of_its_call(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    begin(path)
    assert read(path) == []
    file = ChromeFile(path)
    file.tell(CALL)
    first = read(path)
    file.tell(call(id="second"))
    events = read(path)
    file.close()
    assert events[: len(first)] == first
    spans = [event for event in first if event["ph"] == "X"]
    assert [span["name"] for span in spans] == [
        "/v1/chat/completions",
        "decode_media",
        "queue",
        "prefill",
        "encode",
        "decode",
        "decode",
        "encode",
    ]
    assert (spans[0]["ts"], spans[0]["dur"]) == (100_000_000, 2_000_000)
    assert spans[-1]["args"] == {"hit": None, "bytes": 1234}
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert names == ["request mine", "request second"]
    assert len({event["pid"] for event in events}) == 2


def test_a_successor_goes_on_and_the_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    begin(path)
    before = ChromeFile(path)
    before.tell(CALL)
    before.close()
    size = path.stat().st_size
    after = ChromeFile(path, most=2 * size)
    for _ in range(5):
        after.tell(CALL)
    after.close()
    assert len([event for event in read(path) if event["name"] == "process_name"]) == 2
    assert path.stat().st_size <= 2 * size


def test_a_file_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="--trace-out"):
        begin(tmp_path / "nowhere" / "trace.json")
    with pytest.raises(EngineError, match="--trace-out"):
        begin(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(EngineError, match="--trace-out"):
        begin(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(EngineError, match="--trace-out: that is no file"):
        begin(pipe)
    os.close(reader)


def test_a_file_that_was_there_is_emptied_and_may_be_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "trace.json"
    path.write_text("x" * 1000)
    begin("~/trace.json")
    assert read(path) == []
    file = ChromeFile("~/trace.json")
    file.tell(CALL)
    file.close()
    assert len(read(path)) > 1
