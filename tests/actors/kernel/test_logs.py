"""The log: a line per event, whatever callers send; JSON that parses; nothing twice in a second."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thespis.actors.kernel.logs import Once, configure, formatter_of, one_line
from thespis.protocol.config.logs import LogFormat, LogLevel, told

EVIL = "x\n2026-01-01 00:00:00,000 ERROR director all is lost\x1b[31m\u2028\r\x00\udc80"


@pytest.fixture(autouse=True)
def logging_is_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("thespis")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], level, our_level = before
    root.setLevel(level)
    ours.setLevel(our_level)


def logger_on(
    stream: io.StringIO, form: LogFormat, level: LogLevel = "info", filtered: Once | None = None
) -> logging.Logger:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter_of(form, "http"))
    if filtered is not None:
        handler.addFilter(filtered)
    configure(handler, level)
    return logging.getLogger("thespis.test")


def test_what_a_caller_sends_begins_no_line() -> None:
    out = io.StringIO()
    logger_on(out, "text").info("no model %s", EVIL)
    (line,) = out.getvalue().splitlines()
    assert " INFO http no model x\\n2026-01-01" in line
    assert line.isprintable()


def test_nor_does_it_in_a_traceback() -> None:
    for form in ("text", "json"):
        out = io.StringIO()
        log = logger_on(out, form)
        try:
            raise ValueError(EVIL)
        except ValueError:
            log.exception("a request failed")
        first, *rest = out.getvalue().splitlines()
        assert "a request failed" in first
        assert all(line.startswith("    ") for line in rest)
        assert (not rest) == (form == "json")


def test_json_is_an_object_a_line() -> None:
    out = io.StringIO()
    log = logger_on(out, "json")
    log.warning("what %s", EVIL)
    log.info("GET /x 200", extra={"fields": {"path": EVIL, "status": 200, "ttft": 0.25}})
    try:
        raise ValueError(EVIL)
    except ValueError:
        log.exception("failed")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["level"] for line in lines] == ["warning", "info", "error"]
    assert all(line["role"] == "http" for line in lines)
    assert all(datetime.fromisoformat(line["time"]).utcoffset() is not None for line in lines)
    assert (lines[1]["status"], lines[1]["ttft"]) == (200, 0.25)
    assert "all is lost" in lines[0]["event"]
    assert lines[2]["exception"].startswith("Traceback")


@given(st.text())
def test_a_line_is_one_line_and_says_what_was_said(text: str) -> None:
    said = one_line(text)
    assert len(said.splitlines()) <= 1
    assert not set(said) & set("\x1b\r\n\x00\x85\u2028")
    if text.isprintable():
        assert said == text


@pytest.mark.parametrize("form", ["text", "json"])
def test_levels(form: LogFormat) -> None:
    levels: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")
    for least in levels:
        out = io.StringIO()
        log = logger_on(out, form, least)
        for level in levels:
            log.log(getattr(logging, level.upper()), "said at %s", level)
        logging.getLogger("asyncio").debug("said by a library")
        said = [level for level in levels if f"said at {level}" in out.getvalue()]
        assert said == list(levels[levels.index(least) :])
        assert "library" not in out.getvalue()


def test_the_same_is_said_once_in_a_second_and_then_how_often() -> None:
    now, out = [0.0], io.StringIO()
    log = logger_on(out, "text", filtered=Once(lambda: now[0]))
    for moment in (0.0, 0.5, 0.9, 1.0, 1.5):
        now[0] = moment
        log.warning("%s is gone", "gpu-runner.1")
        log.info("a request", extra={"fields": {"id": "x"}})
    now[0] = 2.5
    log.warning("gpu-runner.1 is gone")
    said = [line for line in out.getvalue().splitlines() if "gone" in line]
    assert [line.partition("gone")[2] for line in said] == [
        "",
        " (and 2 times more since)",
        " (and 1 times more since)",
    ]
    assert out.getvalue().count("a request") == 5


def test_what_was_said_is_not_kept_for_ever() -> None:
    once = Once(lambda: 0.0)
    for number in range(10_000):
        record = logging.LogRecord("x", logging.INFO, "", 0, "line %d", (number,), None)
        assert once.filter(record)
    assert len(once._said) < 1000


def test_threads_do_not_get_in_each_others_way() -> None:
    once, failed = Once(lambda: 0.0), []

    def say(name: str) -> None:
        try:
            for number in range(5_000):
                text = f"{name} {number}"
                once.filter(logging.LogRecord("x", logging.INFO, "", 0, text, (), None))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=say, args=(str(number),)) for number in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert failed == []
    assert len(once._said) < 1000


def test_how_it_is_written_is_told_by_two_variables() -> None:
    assert told({}) == ("info", "text")
    assert told({"THESPIS_LOG_LEVEL": "error", "THESPIS_LOG_FORMAT": "json"}) == ("error", "json")
    assert told({"THESPIS_LOG_LEVEL": "loud", "THESPIS_LOG_FORMAT": "xml"}) == ("info", "text")
