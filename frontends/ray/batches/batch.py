"""`thespis.batch`: the rows of a dataset, or the lines of a file, answered by replicas of an
engine. The driver writes each answer down as it comes; called again, it goes on where it
stopped."""

import logging
import os
import time
from array import array
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ....protocol.config.engine import EngineConfig
from ....protocol.errors import EngineError, RequestError
from ...hub.locate import located
from ...openai.app import BATCHED
from ...openai.batches.ids import KnownIds
from ...openai.batches.source import checked_source
from ...python.options import engine_config
from ...python.progress import ProgressBar
from ..installed import check_installed
from .answers import Answers, LineAnswers, PartAnswers
from .cluster import ReplicaShare, cluster, nodes, replica_share
from .parquet import ids_in, write_part
from .replica import InFile, Replica, RowsFrom, RunningEngine
from .rows import BodyOf, RowForm, id_of

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

log = logging.getLogger(__name__)

BLOCKS = 2
"""Of rows that a replica has at once: while the last rows of one are answered, those of the other
keep the engine busy."""
PARQUET = ".parquet"
"""How the name of a folder of answers ends."""
SAID_SECONDS = 30.0
"""Between two lines in the log."""


class BatchEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a batch has ended."""

    answers: int
    """That are there, those of earlier runs among them."""
    answered: int
    """By this run."""
    failed: int
    """Of these, those that are errors."""
    output: str


class BatchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What `batch` and the command line ask for."""

    engine: EngineConfig
    replicas: int
    cpus: float | None = None
    gpus: float = 0.0
    block_rows: int = 16


def batch(
    dataset: "Dataset | str | os.PathLike[str]",
    output: str | os.PathLike[str],
    *,
    model: str | Path = "",
    replicas: int = 1,
    cpus_per_replica: float | None = None,
    gpus_per_replica: float = 0.0,
    block_rows: int = 16,
    id_column: str = "custom_id",
    request: BodyOf | None = None,
    params: Mapping[str, Any] | None = None,
    address: str | None = None,
    use_tqdm: bool = True,
    **options: Any,
) -> BatchEnd:
    """Answer every row of `dataset` once, by `replicas` engines on Ray.

    `dataset`: one of Ray Data, whose rows have an id in `id_column` and `prompt` (beside it
    `image`, `video`, `audio`, or several in `images` and so on: bytes of files or URLs),
    `messages`, or `body`; or the path of a batch's file. `request` makes the body of a chat of a
    row instead.
    `params` are fields of every body, as `{"max_tokens": 64}`. `output`: a folder NAME.parquet, or
    a file of lines. Rows that have an answer there are not asked again, so that the same call goes
    on after any death. A row that fails is a row with an error.

    `address`: of a running Ray; by default the program's own, else one of this machine. `options`
    are fields of `EngineConfig`. Raises EngineError.
    """
    check_installed("thespis.batch")
    plan = BatchPlan(
        engine=engine_config(model, options),
        replicas=positive("replicas", replicas),
        cpus=cpus_per_replica,
        gpus=gpus_per_replica,
        block_rows=positive("block_rows", block_rows),
    )
    if isinstance(dataset, str | os.PathLike):
        if params or request is not None or id_column != RowForm.id_column:
            text = "go with a dataset: each line of a file is a whole request."
            raise ValueError(f"params, request and id_column {text}")
        return run_file(os.fspath(dataset), Path(output), plan, address, use_tqdm)
    form = RowForm(id_column, request, dict(params or {}))
    with cluster(address):
        answers = open_output(Path(output))
        try:
            rows = _without_known(dataset, form.id_column, answers.ids)
            return _run(rows, form, answers, Path(output), plan, None, use_tqdm)
        finally:
            answers.close()


def run_file(
    source: str, output: Path, plan: BatchPlan, address: str | None, use_tqdm: bool
) -> BatchEnd:
    """Of a batch's file, which every machine sees at this path. Raises EngineError."""
    answers = open_output(output)
    try:
        starts, total = array("q"), 0
        for found in checked_source(source, BATCHED):
            total += 1
            if found.line.custom_id not in answers.ids:
                starts.append(found.start)
        if not starts:
            answers.finish()
            return BatchEnd(answers=len(answers.ids), answered=0, failed=0, output=str(output))
        reading = InFile(os.path.abspath(source))
        with cluster(address):
            return _run(_rows_at(starts), reading, answers, output, plan, total, use_tqdm)
    finally:
        answers.close()


def open_output(output: Path) -> Answers:
    """Raises EngineError."""
    if output.suffix == PARQUET:
        return PartAnswers(output, write_part, ids_in)
    return LineAnswers(output)


def positive(name: str, value: int) -> int:
    """Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is a whole number from 1 on.")
    return value


def _rows_at(starts: "array[int]") -> "Dataset":
    import numpy as np
    import pyarrow as pa
    import ray.data

    return ray.data.from_arrow(pa.table({"start": np.frombuffer(starts, np.int64)}))


def _without_known(dataset: "Dataset", id_column: str, ids: KnownIds) -> "Dataset":
    """Before a replica sees them."""
    import ray

    if not len(ids):
        return dataset
    known = ray.put(ids)

    def unknown(rows: "pa.Table") -> "pa.Table":
        seen: KnownIds = ray.get(known)
        ids = rows[id_column].to_pylist() if id_column in rows.column_names else [None]
        return rows.filter([id_of(id) not in seen for id in ids])

    return dataset.map_batches(unknown, batch_format="pyarrow", batch_size=None)


def _run(
    rows: "Dataset",
    reading: RowsFrom,
    answers: Answers,
    output: Path,
    plan: BatchPlan,
    total: int | None,
    use_tqdm: bool,
) -> BatchEnd:
    from ray.exceptions import RayError

    answered = failed = 0
    said = time.monotonic()
    try:
        with ProgressBar(total, use_tqdm) as bar:
            bar.add(0, len(answers.ids))
            for id, line, tokens, status in _answered(rows, reading, plan):
                if not answers.add(id, line):
                    continue  # the dataset has that id twice
                answered += 1
                failed += status != 200
                bar.add(tokens)
                if time.monotonic() - said > SAID_SECONDS:
                    said = time.monotonic()
                    log.info("batch: %d answers, of %s", len(answers.ids), total or "unknown")
    except RayError as error:
        raise EngineError(_why(error)) from None
    except OSError as error:
        raise EngineError(f"{str(output)!r} cannot be written: {error.strerror}.") from None
    answers.finish()
    return BatchEnd(answers=len(answers.ids), answered=answered, failed=failed, output=str(output))


def _answered(
    rows: "Dataset", reading: RowsFrom, plan: BatchPlan
) -> Iterator[tuple[str, bytes, int, int]]:
    from ray.data import ActorPoolStrategy

    cpus = nodes()
    share = replica_share(cpus, plan.replicas, plan.cpus, plan.gpus)
    engine = _with_threads(plan.engine, share)
    if len(cpus) == 1:  # else every machine fetches it for itself
        engine = located(engine)
    answered = rows.repartition(target_num_rows_per_block=plan.block_rows).map_batches(
        BlockReplica,
        fn_constructor_args=(partial(RunningEngine, engine), reading),
        batch_size=plan.block_rows,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(
            size=plan.replicas,
            max_tasks_in_flight_per_actor=BLOCKS,
            max_concurrent_calls_per_actor=BLOCKS,
            enable_true_multi_threading=True,
        ),
        num_cpus=share.cpus,
        num_gpus=plan.gpus,
    )
    answered.context.enable_progress_bars = False
    for block in answered.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from zip(*(block[name].to_pylist() for name in COLUMNS), strict=True)


COLUMNS = ("id", "line", "tokens", "status")


class BlockReplica(Replica):
    """As Ray Data calls it."""

    def __call__(self, rows: "pa.Table") -> "pa.Table":
        import pyarrow as pa

        told = self.answers(_plain_rows(rows))
        columns = [[(id, *answer)[at] for id, answer in told] for at in range(len(COLUMNS))]
        kinds = (pa.string(), pa.large_binary(), pa.int64(), pa.int64())
        made = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
        return pa.table(made, list(COLUMNS))


def _plain_rows(rows: "pa.Table") -> list[dict[str, Any]]:
    """Tensors, as pictures that Ray has read, as arrays."""
    from ray.data.block import BlockAccessor

    return [dict(row.items()) for row in BlockAccessor.for_block(rows).iter_rows(True)]


def _with_threads(engine: EngineConfig, share: ReplicaShare) -> EngineConfig:
    """What an operator has given stands."""
    return msgspec.structs.replace(
        engine,
        runner_threads=engine.runner_threads or share.threads,
        encoder_threads=engine.encoder_threads or share.threads,
    )


def _why(error: BaseException) -> str:
    """In our own words, where the cause is ours."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, EngineError | RequestError):
            return str(cause)
        cause = getattr(cause, "cause", None) or cause.__cause__
    return f"Ray has ended the batch: {type(error).__name__}. The same call goes on."
