"""Parquet files of answers. pyarrow comes with Ray."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .columns import NAMES

TEXTS = [name for name in NAMES if name != "status_code"]


def write_part(path: Path, columns: dict[str, list[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"status_code": pa.int32(), **dict.fromkeys(TEXTS, pa.string())}
    schema = pa.schema([(name, kinds[name]) for name in NAMES])
    pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")


def ids_in(path: Path) -> Iterator[str]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["custom_id"]):
            yield from batch.column(0).to_pylist()
