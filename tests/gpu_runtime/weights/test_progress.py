import logging

import pytest

from thespis.gpu_runtime.weights.progress import MIB, Progress


def test_a_line_every_few_seconds_and_one_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    now = [10.0]
    with caplog.at_level(logging.INFO):
        progress = Progress(100 * MIB, lambda: now[0])
        for _ in range(100):
            now[0] += 0.1
            progress.add(MIB)
        progress.end()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 4
    assert said[0] in (
        "weights: 30 %, 30 of 100 MiB, after 3 s",
        "weights: 31 %, 31 of 100 MiB, after 3 s",
    )
    assert said[-1] == "weights: all are read, 100.0 MiB in 10.0 s"


def test_more_than_was_thought_is_never_more_than_all(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    with caplog.at_level(logging.INFO):
        progress = Progress(0, lambda: now[0])
        now[0] = 5.0
        progress.add(2 * MIB)
    assert caplog.records[0].getMessage() == "weights: 100 %, 2 of 2 MiB, after 5 s"
