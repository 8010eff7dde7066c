"""A replica answers every row, asks again what an engine could not do, and has an engine again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from thespis.frontends.openai.batches.lines import Line, row
from thespis.frontends.openai.within import Answered
from thespis.frontends.ray.batches import replica as module
from thespis.frontends.ray.batches.cluster import replica_share
from thespis.frontends.ray.batches.replica import TRIES, InFile, Replica, RunningEngine
from thespis.frontends.ray.batches.rows import RowForm
from thespis.protocol.errors import EngineError


class Engine:
    """Answers by what stands in a body's `statuses`, one for each time it is asked."""

    def __init__(self, ends_after: int = 1_000) -> None:
        self.runs, self.stopped = True, False
        self._ends_after = ends_after
        self.asked: list[list[str]] = []

    def answers(self, lines: Sequence[Line]) -> list[Answered]:
        self.asked.append([line.custom_id for line in lines])
        self.runs = len(self.asked) < self._ends_after
        return [self._answer(line) for line in lines]

    def _answer(self, line: Line) -> Answered:
        times = sum(line.custom_id in asked for asked in self.asked)
        statuses = json.loads(bytes(line.body))["statuses"]
        status = statuses[min(times, len(statuses)) - 1] if self.runs else 503
        return Answered(row(line.custom_id, status, b"{}", "r"), 1, status)

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF", (0.0, 0.0))


def replica_of(*engines: Engine) -> Replica:
    waiting = list(engines)
    return Replica(lambda: cast(RunningEngine, waiting.pop(0)), RowForm())


def given(id: str, *statuses: int) -> dict[str, Any]:
    return {"custom_id": id, "body": {"statuses": statuses}}


def statuses(answers: list[tuple[str, Answered]]) -> dict[str, int]:
    assert len({id for id, _ in answers}) == len(answers)
    return {id: answer.status for id, answer in answers}


def test_what_is_put_off_is_asked_again_and_nothing_else_is() -> None:
    engine = Engine()
    rows = [given("a", 200), given("b", 429, 503, 200), given("c", 400), given("d", 429)]
    answers = replica_of(engine).answers(rows)
    assert statuses(answers) == {"a": 200, "b": 200, "c": 400, "d": 429}
    assert engine.asked[:3] == [["a", "b", "c", "d"], ["b", "d"], ["b", "d"]]
    assert engine.asked[3:] == [["d"]] * (TRIES - 3)


def test_an_engine_that_has_ended_is_replaced() -> None:
    first, second = Engine(ends_after=2), Engine()
    replica = replica_of(first, second)
    assert statuses(replica.answers([given("a", 200)])) == {"a": 200}
    assert statuses(replica.answers([given("b", 200), given("c", 200)])) == {"b": 200, "c": 200}
    assert first.stopped
    assert second.asked == [["b", "c"]]


def test_an_engine_that_cannot_start_ends_the_batch() -> None:
    def start() -> RunningEngine:
        raise EngineError("There is no such model.")

    with pytest.raises(EngineError, match="no such model"):
        Replica(start, RowForm()).answers([given("a", 200)])


def test_a_wrong_row_is_an_answer_like_the_others() -> None:
    wrong: list[dict[str, Any]] = [
        {"custom_id": "x"},
        {"custom_id": "y", "body": {}, "url": "/v1/files"},
    ]
    answers = replica_of(Engine()).answers([*wrong, given("a", 200)])
    assert statuses(answers) == {"x": 400, "y": 400, "a": 200}
    told = {id: json.loads(answer.written) for id, answer in answers}
    assert told["x"]["error"]["code"] == "no_prompt"
    assert told["x"]["response"] is None
    assert told["y"]["error"]["code"] == "invalid_url"
    alone = Engine()
    assert statuses(replica_of(alone).answers(wrong)) == {"x": 400, "y": 400}


def test_lines_of_a_file_are_read_where_they_begin(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    lines = [
        json.dumps({"custom_id": id, "url": "/v1/completions", "body": {"statuses": [200]}})
        for id in "ab"
    ]
    source.write_text("\n".join(lines))
    engine = Engine()
    replica = Replica(lambda: cast(RunningEngine, engine), InFile(str(source)))
    rows = [{"start": len(lines[0]) + 1}, {"start": 0}]
    assert statuses(replica.answers(rows)) == {"b": 200, "a": 200}
    with pytest.raises(EngineError, match="was changed while the batch ran"):
        replica.answers([{"start": 5}])


@pytest.mark.parametrize(
    ("cpus", "replicas", "given", "gpus", "share"),
    [
        ([2.0], 1, None, 0, (1.0, 1)),
        ([2.0], 2, None, 0, (0.5, 1)),
        ([16.0], 2, None, 0, (7.0, 7)),
        ([1.0], 4, None, 0, (0.12, 1)),
        ([8.0, 8.0], 2, None, 0, (1.0, 1)),
        ([8.0, 8.0], 2, 4.0, 0, (4.0, 4)),
        ([16.0], 2, None, 1, (1.0, 0)),
    ],
)
def test_replicas_leave_a_processor_to_whoever_reads_rows(
    cpus: list[float], replicas: int, given: float | None, gpus: float, share: tuple[float, int]
) -> None:
    assert replica_share(cpus, replicas, given, gpus) == share
    assert given or len(cpus) > 1 or replicas * share[0] < cpus[0]
