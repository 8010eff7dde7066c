"""Answers on disk: each id once, wherever a process ends between two of its steps."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from thespis.frontends.openai.batches.lines import row
from thespis.frontends.ray.batches import answers as module
from thespis.frontends.ray.batches.answers import JOURNAL, LineAnswers, PartAnswers
from thespis.protocol.errors import EngineError


def write(path: Path, columns: dict[str, list[Any]]) -> None:
    """In place of Parquet, which comes with Ray."""
    path.write_text(json.dumps(columns))


def ids_in(path: Path) -> Iterator[str]:
    yield from json.loads(path.read_text())["custom_id"]


def line(id: str) -> bytes:
    return row(id, 200, b'{"choices":[{"text":"yes"}]}', f"r-{id}")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_ROWS", 3)


def parts(folder: Path) -> list[list[str]]:
    return [list(ids_in(path)) for path in sorted(folder.glob("*.parquet"))]


def opened(folder: Path) -> PartAnswers:
    return PartAnswers(folder, write, ids_in)


def test_lines_gather_until_they_are_a_part_and_the_rest_is_the_last(tmp_path: Path) -> None:
    folder = tmp_path / "out.parquet"
    answers = opened(folder)
    for id in "abcdefg":
        assert answers.add(id, line(id))
        assert not answers.add(id, line(id))
    assert len(answers.ids) == 7
    answers.finish()
    answers.close()
    assert parts(folder) == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert sorted(path.name for path in folder.iterdir()) == [
        f"part-00000{number}.parquet" for number in range(3)
    ]


def test_a_run_that_was_killed_goes_on_with_all_that_it_wrote_down(tmp_path: Path) -> None:
    folder = tmp_path / "out.parquet"
    first = opened(folder)
    for id in "abcde":
        first.add(id, line(id))
    first.close()  # as a kill leaves it
    with open(folder / JOURNAL, "ab") as journal:
        journal.write(line("half")[:20])
    second = opened(folder)
    assert parts(folder) == [["a", "b", "c"], ["d", "e"]]
    assert [id in second.ids for id in ("e", "half", "f")] == [True, False, False]
    second.add("f", line("f"))
    second.finish()
    second.close()
    assert parts(folder) == [["a", "b", "c"], ["d", "e"], ["f"]]


def test_a_journal_that_is_a_part_already_is_not_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out.parquet"
    first = opened(folder)
    for id in "ab":
        first.add(id, line(id))
    journal = (folder / JOURNAL).read_bytes()
    first.add("c", line("c"))
    first.close()
    (folder / JOURNAL).write_bytes(journal + line("c"))  # killed before it was removed
    second = opened(folder)
    second.finish()
    second.close()
    assert parts(folder) == [["a", "b", "c"]]


def test_a_draft_of_a_dead_process_is_written_anew(tmp_path: Path) -> None:
    folder = tmp_path / "out.parquet"
    first = opened(folder)
    first.add("a", line("a"))
    first.close()
    (folder / ".draft").write_text("half a fi")
    second = opened(folder)
    second.finish()
    second.close()
    assert parts(folder) == [["a"]]


def test_what_is_somebodys_or_in_use_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "out.parquet"
    first = opened(folder)
    with pytest.raises(EngineError, match="Another run writes into"):
        opened(folder)
    first.close()
    (folder / "letter.txt").write_text("mine")
    with pytest.raises(EngineError, match="has files of others"):
        opened(folder)
    (tmp_path / "file.parquet").write_text("mine")
    with pytest.raises(EngineError, match="cannot be written"):
        opened(tmp_path / "file.parquet")


def test_a_file_of_lines_takes_each_id_once_and_goes_on(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    for ids in ("ab", "abc"):
        answers = LineAnswers(target)
        for id in ids:
            assert answers.add(id, line(id)) == (id not in "ab" or ids == "ab")
        answers.finish()
        answers.close()
    assert [json.loads(row)["custom_id"] for row in target.read_text().splitlines()] == list("abc")
