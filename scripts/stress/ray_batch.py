"""A batch over replicas by Ray, killed twice: is each row answered once, and is the driver's memory
flat? A table on stdout.

`scripts/dev ray-batch [--rows N] [--ratio N]`: rows with pictures over two replicas of the bundled
model by `thespis run-batch --ray`. At a third the driver is killed and the same command goes on, at
two thirds one replica. Then answers are compared with those of one engine without Ray, rows of a
dataset are answered into Parquet, and with --ratio that many rows are timed by one replica and by
two. The exit code is 1 if anything is missing, twice or different.
"""

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

from .process_tree import descendants, processes
from .watch import memory_of

COMMAND = (sys.executable, "-P", "-m", "thespis", "run-batch")
ENGINE = (
    "--dtype",
    "float32",
    "--device",
    "cpu",
    "--runner-threads",
    "1",
    "--encoder-threads",
    "1",
)
PARTS = (1 / 3, 2 / 3)
"""Of the rows, at which somebody is killed."""
SAME = 24
"""Rows that are asked without Ray, too."""
LOOK_SECONDS = 0.25
END_SECONDS = 180.0
"""For what a killed driver leaves."""
GROWTH = 1.15
"""Of the driver's memory between a fifth of a run and its end."""


def picture(number: int) -> bytes:
    """Of no other row."""
    image = Image.new("RGB", (64, 64), (number % 256, number // 256 % 256, 90))
    pen = ImageDraw.Draw(image)
    pen.ellipse((8, 8, 24 + number % 32, 40), fill=((7 * number) % 256, 200, 30))
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def question(number: int) -> dict[str, Any]:
    url = "data:image/png;base64," + base64.b64encode(picture(number)).decode()
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What?"}]
    body = {"messages": [{"role": "user", "content": parts}], "max_tokens": 4, "temperature": 0}
    url = "/v1/chat/completions"
    return {"custom_id": f"row-{number}", "method": "POST", "url": url, "body": body}


def write_questions(path: Path, rows: int) -> Path:
    with path.open("w") as file:
        for number in range(rows):
            file.write(json.dumps(question(number)) + "\n")
    return path


class Lines:
    """Counts a file's lines as it grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._read, self.count = path, 0, 0

    def look(self) -> int:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
            self._read += len(data)
            self.count += data.count(b"\n")
        return self.count


class Sampled(NamedTuple):
    second: float
    answers: int
    memory: float
    """MiB resident of the driver."""


class Driven:
    """`thespis run-batch --ray` as its own process."""

    def __init__(self, source: Path, target: Path, replicas: int, log: Path) -> None:
        command = [*COMMAND, str(source), "-o", str(target), "--ray", "--replicas", str(replicas)]
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [*command, *ENGINE], stdout=file, stderr=file, start_new_session=True
            )
        self._lines = Lines(target)
        self.samples: list[Sampled] = []

    def watch(self, until: Callable[[int], bool]) -> bool:
        """Whether it still runs when `until` is true of its answers."""
        while self.process.poll() is None:
            answers = self._lines.look()
            if memory := memory_of(self.process.pid):
                self.samples.append(Sampled(time.monotonic(), answers, memory))
            if until(answers):
                return True
            time.sleep(LOOK_SECONDS)
        return False

    def family(self) -> dict[int, str]:
        """Command lines by pid of all processes that come from it."""
        return descendants(self.process.pid)

    def rate(self) -> float:
        """Answers per second, from the first to the last."""
        some = [one for one in self.samples if one.answers > 0]
        first, last = some[0], next(one for one in some if one.answers == some[-1].answers)
        return (last.answers - first.answers) / max(last.second - first.second, 1e-9)


def seconds_until_gone(pids: dict[int, str]) -> tuple[float, list[str]]:
    """And what is still there."""
    begun = time.monotonic()
    while time.monotonic() - begun < END_SECONDS:
        left = {pid: seen.title for pid, seen in processes().items() if pid in pids}
        if not left:
            break
        time.sleep(0.2)
    return time.monotonic() - begun, list(left.values())


class Report:
    """Rows of a table, and whether all of it is well."""

    def __init__(self) -> None:
        self.well = True
        print("| what | seen |\n| --- | --- |")

    def say(self, what: str, seen: object, well: bool = True) -> None:
        self.well &= well
        print(f"| {what} | {seen}{'' if well else ' **wrong**'} |", flush=True)


def killed_twice(rows: int, folder: Path, report: Report) -> Path:
    source = write_questions(folder / "questions.jsonl", rows)
    target, log = folder / "answers.jsonl", folder / "log"
    first = Driven(source, target, 2, log)
    alive = first.watch(lambda answers: answers >= PARTS[0] * rows)
    family = first.family()
    first.process.kill()
    first.process.wait()
    at = Lines(target).look()
    report.say("answers when the driver is killed", at, alive)
    seconds, left = seconds_until_gone(family)
    report.say(f"until its {len(family)} processes are gone", f"{seconds:.1f} s", not left)
    second = Driven(source, target, 2, log)
    alive = second.watch(lambda answers: answers >= PARTS[1] * rows)
    workers = [pid for pid, line in second.family().items() if line.startswith("ray::MapWorker")]
    if workers:
        os.kill(workers[0], signal.SIGKILL)
    seen = f"{Lines(target).look()}, one of {len(workers)}"
    report.say("answers when a replica is killed", seen, alive and len(workers) == 2)
    second.watch(lambda answers: False)
    report.say(
        "exit code of the second run", second.process.returncode, not second.process.returncode
    )
    judge(target, rows, report)
    judge_memory(second, rows, report)
    report.say("answers per second, the kill among them", f"{second.rate():.1f}")
    return target


def judge(target: Path, rows: int, report: Report) -> None:
    found = [json.loads(line) for line in target.read_text().splitlines()]
    ids = {one["custom_id"] for one in found}
    wrong = sum((one["response"] or {}).get("status_code") != 200 for one in found)
    report.say("lines", len(found), len(found) == rows)
    report.say("rows with an answer", len(ids), ids == {f"row-{n}" for n in range(rows)})
    report.say("answers that are errors", wrong, wrong == 0)


def judge_memory(driven: Driven, rows: int, report: Report) -> None:
    """From where a fifth of its own rows is done."""
    begin = driven.samples[0].answers
    steady = [one for one in driven.samples if one.answers >= begin + (rows - begin) / 5]
    if not steady:
        report.say("the driver's memory", "no sample", False)
        return
    quarter = max(1, len(steady) // 4)
    early = sum(one.memory for one in steady[:quarter]) / quarter
    late = sum(one.memory for one in steady[-quarter:]) / quarter
    most = max(one.memory for one in steady)
    seen = f"{early:.0f} -> {late:.0f} MiB, at most {most:.0f}"
    report.say("the driver's memory, first and last quarter", seen, late < GROWTH * early)


def contents(target: Path) -> dict[str, str]:
    found = map(json.loads, target.read_text().splitlines())
    return {
        one["custom_id"]: one["response"]["body"]["choices"][0]["message"]["content"]
        for one in found
    }


def as_without_ray(target: Path, folder: Path, report: Report) -> None:
    source = write_questions(folder / "some.jsonl", SAME)
    alone = folder / "alone.jsonl"
    with (folder / "log").open("ab") as log:
        command = [*COMMAND, str(source), "-o", str(alone), *ENGINE]
        subprocess.run(command, stdout=log, stderr=log, check=True)
    wanted, got = contents(alone), contents(target)
    same = sum(got.get(id) == text for id, text in wanted.items())
    report.say("the same answers without Ray", f"{same} of {len(wanted)}", same == len(wanted))


def rows_of_a_dataset(folder: Path, report: Report) -> None:
    """One is wrong, one comes twice."""
    import pyarrow.parquet as pq
    import ray

    import thespis

    rows = [{"custom_id": n, "prompt": "What?", "image": picture(n)} for n in range(40)]
    rows += [{"custom_id": 40, "prompt": "What?", "image": b"no picture"}, rows[3]]
    target = folder / "rows.parquet"
    with dataset_of(rows[:20]) as dataset:
        thespis.batch(dataset, target, params={"max_tokens": 4}, runner_threads=1)
    with dataset_of(rows) as dataset:
        ended = thespis.batch(dataset, target, params={"max_tokens": 4}, runner_threads=1)
    table = pq.read_table(target)
    ids = sorted(map(int, table["custom_id"].to_pylist()))
    report.say("rows of a dataset, in Parquet", table.num_rows, ids == list(range(41)))
    report.say("of these answered by the second call", ended.answered, ended.answered == 21)
    wrong = [row["custom_id"] for row in table.to_pylist() if row["error"]]
    report.say("rows with an error", wrong, wrong == ["40"])
    assert not ray.is_initialized()


@contextmanager
def dataset_of(rows: list[dict[str, Any]]) -> Iterator[Any]:
    import logging

    import ray
    import ray.data

    ray.init(address="local", include_dashboard=False, logging_level=logging.ERROR)
    try:
        yield ray.data.from_items(rows)
    finally:
        ray.shutdown()


def ratio(rows: int, folder: Path, report: Report) -> None:
    rates = []
    for replicas in (1, 2):
        source = write_questions(folder / "timed.jsonl", rows)
        driven = Driven(source, folder / f"timed-{replicas}.jsonl", replicas, folder / "log")
        driven.watch(lambda answers: False)
        rates.append(driven.rate())
        report.say(f"answers per second, {replicas} replicas", f"{rates[-1]:.1f}")
    cores = len(os.sched_getaffinity(0))
    report.say(f"two against one, on {cores} cores", f"{rates[1] / rates[0]:.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev ray-batch", description=__doc__)
    parser.add_argument("--rows", type=int, default=300, help="that are killed twice; 0: none")
    parser.add_argument("--ratio", type=int, default=0, help="rows that are timed")
    parser.add_argument("--keep", type=Path, help="a folder for files and the log")
    given = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    report = Report()
    with tempfile.TemporaryDirectory() as place:
        folder = given.keep or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        if given.rows:
            target = killed_twice(given.rows, folder, report)
            as_without_ray(target, folder, report)
            rows_of_a_dataset(folder, report)
        if given.ratio:
            ratio(given.ratio, folder, report)
    return int(not report.well)


if __name__ == "__main__":
    sys.exit(main())
